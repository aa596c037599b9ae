from pathlib import Path

import pytest

from shared.composition.settings_metrics import SETTINGS_FILE, show_settings_file
from shared.errors import SettingsError
from shared.http.server import Health
from shared.runtime.reloading import SettingsFile
from shared.settings import Options


class Settings(Options):
    port: int = 80


class Readings:
    """What each reading of the file gives."""

    def __init__(self) -> None:
        self.next: Settings | SettingsError = Settings(port=80)

    def __call__(self, _files: set[Path]) -> Settings:
        if isinstance(self.next, SettingsError):
            raise self.next
        return self.next


async def test_it_shows_in_readyz_and_in_metrics_whether_the_file_is_in_use() -> None:
    health, readings = Health("test"), Readings()
    file = SettingsFile(Settings(port=80), readings)
    show_settings_file(file, health)

    def shown() -> list[float | None]:
        names = ("reload_successful", "restart_needed")
        return [health.registry.get_sample_value(f"trelay_settings_{name}") for name in names]

    loaded_at = health.registry.get_sample_value("trelay_settings_reload_success_timestamp_seconds")
    assert loaded_at == file.loaded_at
    assert shown() == [1.0, 0.0]

    readings.next = SettingsError("trelay.yaml:1:1: port: wrong")
    with pytest.raises(SettingsError):
        await file.reread()
    assert shown() == [0.0, 0.0]
    assert health.readiness.ready
    assert health.readiness.notes() == {SETTINGS_FILE: "trelay.yaml:1:1: port: wrong"}

    readings.next = Settings(port=81)
    await file.reread()
    assert shown() == [1.0, 1.0]
    assert health.readiness.notes() == {}
