"""The sections of the settings file that every service reads."""

from shared.alerts import AlertOptions
from shared.bus.connect import BusOptions
from shared.bus.postgres import PostgresBusOptions
from shared.database.options import DatabaseOptions
from shared.runtime.logs import LogOptions
from shared.runtime.reloading import ReloadOptions
from shared.settings import Options
from shared.telemetry.options import TelemetryOptions


class DatabaseSettings(Options):
    """The part of the file that says where the database is."""

    database: DatabaseOptions = DatabaseOptions()
    """The PostgreSQL database with registrations, leases and, with `bus.kind: postgres`, the bus."""


class SharedSettings(DatabaseSettings):
    """The sections that every service reads. A service adds its own."""

    bus: BusOptions = PostgresBusOptions()
    """What carries events between the layers: Kafka or PostgreSQL."""

    alerts: AlertOptions = AlertOptions()
    """Mails to the operators."""

    logs: LogOptions = LogOptions()
    """The log of each process."""

    telemetry: TelemetryOptions = TelemetryOptions()
    """What is sent to an OpenTelemetry collector."""

    reload: ReloadOptions = ReloadOptions()
    """What happens when this file changes while the process runs."""

    @property
    def node(self) -> str | None:
        """The name that the settings give this replica; None: one that is new at each start."""
        return None
