"""The settings of this service, composed of those that its parts declare."""

from typing import Any

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.pipeline.steps.flow.reuse import ListOptions, expanded
from services.process_api.state.options import StateOptions
from services.process_api.worker.filler import TransactionOptions
from shared.composition.settings import SharedSettings
from shared.http.operators import OperatorOptions
from shared.http.server import ListenOptions
from shared.settings import Name, Options

PipelineName = Name
"""The name of a pipeline: part of dead letters and metrics."""


class ProcessOptions(Options):
    """The section `process`."""

    listen: ListenOptions = ListenOptions(port=8082)
    """The listener for operators: health, metrics and `/pipelines`. Subscribers and upstream systems do not use it."""

    operators: dict[Name, OperatorOptions] = Field(default_factory=dict)
    """Who may operate pipelines and dead letters, and read `GET /pipelines`, by name. Without any, requests from this
    machine itself may, and `GET /pipelines` is as open as the listener."""

    node: str | None = Field(default=None, min_length=1, max_length=100)
    """The name of this replica, unique among those that run. A replica that keeps its name gets its partitions back at
    once after a crash. By default each start generates a name, and waits until the session of the previous one
    expires."""

    transaction: TransactionOptions = TransactionOptions()
    """How much one transaction holds at most."""

    state: StateOptions = StateOptions()
    """Where the state of pipelines is kept: that of the steps `dedupe`, `latest`, `schedule`, `aggregate`, `join` and
    `table`."""

    lists: dict[Name, ListOptions] = Field(default_factory=dict)
    """Lists of steps by name, for the step `use` in any pipeline."""

    pipelines: dict[PipelineName, PipelineOptions] = Field(default_factory=dict)
    """The pipelines by name. Events of a source that no pipeline takes go to the dead letter."""

    @model_validator(mode="before")
    @classmethod
    def _with_lists(cls, given: Any) -> Any:
        """Put the steps of the named lists in the place of each `use`."""
        if not isinstance(given, dict) or "pipelines" not in given:
            return given
        pipelines, faults = expanded(given["pipelines"], given.get("lists"))
        if faults:
            errors: list[InitErrorDetails] = [
                {"type": "value_error", "loc": place, "input": None, "ctx": {"error": ValueError(text)}}
                for place, text in faults
            ]
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return {**given, "pipelines": pipelines}


class ProcessSettings(SharedSettings):
    """The sections of the settings file that this service reads."""

    process: ProcessOptions = ProcessOptions()

    @property
    def node(self) -> str | None:
        """The name that the settings give this replica."""
        return self.process.node
