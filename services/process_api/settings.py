"""The settings of this service: composes what its parts declare."""

from typing import Annotated

from pydantic import Field, StringConstraints

from services.process_api.filling import TransactionOptions
from services.process_api.pipeline import PipelineOptions
from shared.alerts import AlertOptions
from shared.bus.options import BusOptions
from shared.bus.postgres import PostgresBusOptions
from shared.database.options import DatabaseOptions
from shared.logs import LogOptions
from shared.settings import Options
from shared.web import ListenOptions

PipelineName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""Part of dead letters and metrics."""


class ProcessOptions(Options):
    """The section `process`."""

    listen: ListenOptions = ListenOptions(port=8082)
    """Where operators see health and metrics; no subscriber and no upstream comes here."""

    node: str | None = Field(default=None, min_length=1, max_length=100)
    """What the others call this replica: unique among those that run. One that keeps its name has its partitions back
    at once after a crash; by default each start has a name of its own, and waits until the last one counts as dead."""

    transaction: TransactionOptions = TransactionOptions()
    """How much one transaction holds at most."""

    pipelines: dict[PipelineName, PipelineOptions] = Field(default_factory=dict)
    """By name. Events of a source that none of them takes go to the dead letter."""


class ProcessSettings(Options):
    """What this service reads of the file."""

    database: DatabaseOptions = DatabaseOptions()
    bus: BusOptions = PostgresBusOptions()
    alerts: AlertOptions = AlertOptions()
    logs: LogOptions = LogOptions()
    process: ProcessOptions = ProcessOptions()
