"""The settings of this service: composes what its parts declare."""

from pydantic import Field

from services.process_api.filling import TransactionOptions
from services.process_api.pipeline import PipelineOptions
from shared.alerts import AlertOptions
from shared.bus.options import BusOptions
from shared.bus.postgres import PostgresBusOptions
from shared.database.options import DatabaseOptions
from shared.logs import LogOptions
from shared.settings import Name, Options
from shared.web import ListenOptions

PipelineName = Name
"""Part of dead letters and metrics."""


class ProcessOptions(Options):
    """The section `process`."""

    listen: ListenOptions = ListenOptions(port=8082)
    """Where operators see health and metrics; no subscriber and no upstream comes here."""

    node: str | None = Field(default=None, min_length=1, max_length=100)
    """What the others call this replica: unique among those that run. One that keeps its name has its partitions back
    at once after a crash; by default each start has a name of its own, and waits until the last one counts as dead."""

    transaction: TransactionOptions = TransactionOptions()

    pipelines: dict[PipelineName, PipelineOptions] = Field(default_factory=dict)
    """By name. Events of a source that none of them takes go to the dead letter."""


class ProcessSettings(Options):
    """What this service reads of the file."""

    database: DatabaseOptions = DatabaseOptions()
    bus: BusOptions = PostgresBusOptions()
    alerts: AlertOptions = AlertOptions()
    logs: LogOptions = LogOptions()
    process: ProcessOptions = ProcessOptions()
