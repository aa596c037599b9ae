"""Shows in `/readyz` and in metrics whether the settings file as it is now is in use."""

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.http.server import Health
from shared.runtime.reloading import SettingsFile

SETTINGS_FILE = "settings_file"
"""The part in `/readyz`: a note, for the service runs on the settings from before."""


def show_settings_file(file: SettingsFile[Any], health: Health) -> None:
    """Show a settings file, from now on."""
    health.readiness.note(SETTINGS_FILE, lambda: file.problem)
    health.registry.register(SettingsCollector(file))


class SettingsCollector(Collector):
    """`trelay_settings_…`: what became of the last reading of the settings file."""

    def __init__(self, file: SettingsFile[Any]) -> None:
        self._file = file

    def collect(self) -> Iterator[Metric]:
        """Return what the file is now."""
        yield GaugeMetricFamily(
            "trelay_settings_reload_successful",
            "1 if the settings file was read without a fault the last time.",
            value=float(self._file.problem is None),
        )
        yield GaugeMetricFamily(
            "trelay_settings_reload_success_timestamp_seconds",
            "Unix time when the settings file was last read without a fault.",
            value=self._file.loaded_at,
        )
        yield GaugeMetricFamily(
            "trelay_settings_restart_needed",
            "1 if settings have changed that only a restart applies.",
            value=float(bool(self._file.needs_restart)),
        )
