"""The settings of this service, composed of those that its parts declare."""

from pydantic import Field

from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.state.options import StateOptions
from services.process_api.worker.filler import TransactionOptions
from shared.composition.settings import SharedSettings
from shared.http.server import ListenOptions
from shared.settings import Name, Options

PipelineName = Name
"""The name of a pipeline: part of dead letters and metrics."""


class ProcessOptions(Options):
    """The section `process`."""

    listen: ListenOptions = ListenOptions(port=8082)
    """The listener for health and metrics. Subscribers and upstream systems do not use it."""

    node: str | None = Field(default=None, min_length=1, max_length=100)
    """The name of this replica, unique among those that run. A replica that keeps its name gets its partitions back at
    once after a crash. By default each start generates a name, and waits until the session of the previous one
    expires."""

    transaction: TransactionOptions = TransactionOptions()
    """How much one transaction holds at most."""

    state: StateOptions = StateOptions()
    """Where the state of pipelines is kept: of the steps `dedupe`, `latest`, `aggregate`, `join` and `table`."""

    pipelines: dict[PipelineName, PipelineOptions] = Field(default_factory=dict)
    """The pipelines by name. Events of a source that no pipeline takes go to the dead letter."""


class ProcessSettings(SharedSettings):
    """The sections of the settings file that this service reads."""

    process: ProcessOptions = ProcessOptions()

    @property
    def node(self) -> str | None:
        """The name that the settings give this replica."""
        return self.process.node
