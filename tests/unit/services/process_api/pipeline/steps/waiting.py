"""Steps that wait, for these tests: what they do stands in the data of each event."""

import json
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from pydantic import Field, TypeAdapter

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.pipeline import Pipeline, PipelineOptions
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.registry import AnyStep
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.pipeline.steps.step import StepOptions
from services.process_api.state.changes import Layers
from services.process_api.state.memory import MemoryStore
from services.process_api.state.running import RunningState
from services.process_api.state.step_state import Moment
from shared.bus.protocol import TopicPartition
from shared.errors import Malformed, Unavailable
from shared.expression.nodes import Raw
from tests.unit.services.process_api.making import draft

_step: TypeAdapter[Any] = TypeAdapter(AnyStep)


class CountedTurns:
    """Counts the turns."""

    def __init__(self) -> None:
        self.breaths = self.waits = 0

    def due(self) -> bool:
        return True

    async def rest(self) -> None:
        self.breaths += 1

    async def breathe(self) -> None:
        self.breaths += 1

    def waited(self) -> None:
        self.waits += 1


class RecordedState(RunningState):
    """Records what it is told."""

    def __init__(self) -> None:
        super().__init__(Layers(MemoryStore()), Moment(), lambda: 0, {}, {})
        self.told: list[tuple[str, str]] = []

    def begin(self, pipeline: str) -> None:
        self.told.append(("begin", pipeline))

    def keep(self, pipeline: str) -> None:
        self.told.append(("keep", pipeline))

    def undo(self, pipeline: str) -> None:
        self.told.append(("undo", pipeline))


def state_of(*pipelines: Pipeline, now: Callable[[], int] = lambda: 1_700_000_000_001) -> RunningState:
    """The state of these pipelines, with nothing in it."""
    places = {each.name: each.definitions for each in pipelines}
    names = [name for each in places.values() for name in each.values()]
    instances = {name: number for number, name in enumerate(names, 1)}
    return RunningState(Layers(MemoryStore()), Moment(), now, places, instances)


def scope(state: RunningState | None = None) -> Scope:
    return Scope(TopicPartition("trelay.ingest", 0), CountedTurns(), state)


class LookUp(StepOptions):
    """A step that waits. The member `look` of each entity says what becomes of it."""

    kind: ClassVar = "look_up"
    name: str = "found"

    def build(self, context: StepContext) -> "LookUpStep":
        return LookUpStep(self.name, context.place)


class StatefulLookUp(LookUp):
    """The same, with state."""

    stateful: ClassVar = True


class LookUpStep:
    def __init__(self, name: str, place: str = "") -> None:
        self._name = name
        self.place = place
        self.batches: list[int] = []
        batches.append(self.batches)

    async def apply_batch(self, drafts: Sequence[Draft], scope: Scope) -> Sequence[Any]:
        self.batches.append(len(drafts))
        outcomes: list[Any] = []
        for each in drafts:
            look = json.loads(each.data_text() or b"{}").get("look")
            if look == "bug":
                raise ZeroDivisionError("a bug")
            if look == "several":
                outcomes.append(each.copies_with([Raw(b'{"n":1}'), Raw(b'{"n":2}')]))
            elif look == "short":
                return []
            elif look == "malformed":
                outcomes.append(Malformed("garbage"))
            elif look == "away" or (look == "first" and len(self.batches) == 1):
                outcomes.append(Unavailable("no answer"))
            elif look == "none":
                outcomes.append(())
            else:
                node = each.data()
                assert isinstance(node, dict)
                node[self._name] = Raw(b"true")
                each.mark_data_changed()
                outcomes.append((each,))
        return outcomes


batches: list[list[int]] = []
"""The sizes of the batches of each step, newest last."""


def waiting_pipeline(*steps: Any, name: str = "orders", channel: str | None = "orders") -> Pipeline:
    """A pipeline of options, or of steps as in the settings."""
    made = [each if isinstance(each, StepOptions) else _step.validate_python(each) for each in steps]
    return Pipeline(name, Unchecked(sources=["*"], channel=channel, steps=made))


class Unchecked(PipelineOptions):
    """Takes any steps."""

    steps: list[Any] = Field(default_factory=list)


def drafts(*entities: Any) -> list[Draft]:
    return [draft(entity) for entity in entities]
