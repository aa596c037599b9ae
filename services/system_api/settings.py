"""The settings of this service: composes what its parts declare."""

from typing import Annotated

from pydantic import Field

from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.table.options import TableSourceOptions
from shared.alerts import AlertOptions
from shared.bus.options import BusOptions
from shared.bus.postgres import PostgresBusOptions
from shared.database.options import DatabaseOptions
from shared.logs import LogOptions
from shared.settings import Name, Options
from shared.web import ListenOptions

SourceName = Name
"""Part of event ids, checkpoint keys, metrics and the names of transactions: short, and the same for ever."""


class SystemOptions(Options):
    """The section `system`."""

    listen: ListenOptions = ListenOptions(port=8081)
    """Where operators see the sources; no subscriber and no upstream comes here."""

    node: str | None = Field(default=None, min_length=1, max_length=100)
    """What the others call this replica: unique among those that run. One that keeps its name has its sources back at
    once after a crash; by default each start has a name of its own, and waits until the leases of the last one end."""

    lease_seconds: float = Field(default=6.0, ge=0.5, le=60)
    """How long the sources of a replica that died wait before another one drives them."""

    sources: dict[SourceName, Annotated[FileSourceOptions | TableSourceOptions, Field(discriminator="kind")]] = Field(
        default_factory=dict
    )
    """By name. A source that is renamed is another source, and begins at the beginning."""


class SystemSettings(Options):
    """What this service reads of the file."""

    database: DatabaseOptions = DatabaseOptions()
    bus: BusOptions = PostgresBusOptions()
    alerts: AlertOptions = AlertOptions()
    logs: LogOptions = LogOptions()
    system: SystemOptions = SystemOptions()
