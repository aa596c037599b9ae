"""A stateful step in one partition, without a bus."""

import json
import random
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.registry import AnyStep
from services.process_api.pipeline.steps.stateful.step import StatefulStep
from services.process_api.state.changes import Layers
from services.process_api.state.memory import MemoryStore
from services.process_api.state.running import RunningState
from services.process_api.state.step_state import Moment
from shared.errors import Malformed
from shared.events.headers import Provenance
from shared.runtime.clock import rfc3339
from tests.unit.services.process_api.making import event, without_data

_step: TypeAdapter[Any] = TypeAdapter(AnyStep)

START = 1_700_000_000_000
"""Milliseconds since 1970 at which these tests begin."""


class Stepping:
    """Runs one step; times are in milliseconds after `START`."""

    def __init__(self, step: Any, layers: Layers | None = None) -> None:
        self.layers = layers or Layers(MemoryStore())
        self.step: StatefulStep = _step.validate_python(step).build(StepContext("orders", "steps.0"))
        self.now = 0
        self.numbers = 0
        self.begin()

    def begin(self) -> None:
        """Begin a run of the partition, with the state of the one before."""
        places = {"orders": {"steps.0": "definition"}}
        self.running = RunningState(self.layers, Moment(), lambda: START + self.now, places, {"definition": 1})
        self.state = self.running.step("orders", "steps.0")

    def send(
        self, data: Any = None, *, at: int | None = None, subject: str = "C-1", written: int | None = None, **more: Any
    ) -> list[dict[str, Any]]:
        """Process an event of the time `at`, written to the bus at `written`; return what passes now, and what is due.

        Raises:
            Malformed: the step rejects it.
        """
        self.numbers += 1
        self.now = max(self.now, self.now if written is None else written)
        attributes = {"id": f"e{self.numbers}", "subject": subject, **more}
        if at is not None:
            attributes["time"] = rfc3339((START + at) / 1000)
        draft = Draft(without_data(**attributes) if "data_base64" in attributes else event(data, **attributes))
        timestamp = START + (self.now if written is None else written)
        provenance = Provenance("orders", timestamp, attributes["id"]).pack()
        self.running.at_record(subject.encode(), timestamp, provenance)
        try:
            made = self.step.process(draft, self.state)
        except Malformed:
            self.running.undo("orders")
            raise
        self.running.keep("orders")
        return [*_decoded(made), *self.due()]

    def draft(self, data: Any = None, **attributes: Any) -> Draft:
        """Return an event."""
        return Draft(event(data, **attributes))

    def tick(self, now: int) -> list[dict[str, Any]]:
        """Let the clock pass without an event; return what is due."""
        self.now = now
        self.running.at_no_record()
        return self.due()

    def due(self) -> list[dict[str, Any]]:
        may_be_due = self.step.may_be_due(self.state)
        made = [result.draft for result in self.step.due(self.state)]
        assert may_be_due or not (made or self.running._pipelines["orders"].provisional)
        self.running.keep("orders")
        return _decoded(made)

    def transact(self, rng: random.Random) -> None:
        """End a transaction, or settle the oldest one, or neither."""
        if rng.random() < 0.2:
            self.layers.seal()
        if self.layers.sealed and rng.random() < 0.2:
            self.layers.store.apply(self.layers.sealed.popleft())

    @property
    def next_due(self) -> int | None:
        found = self.step.next_due(self.state)
        return None if found is None else found - START

    def stored(self) -> int:
        """How many keys the step has."""
        self.layers.seal()
        while self.layers.sealed:
            self.layers.store.apply(self.layers.sealed.popleft())
        store = self.layers.store
        assert isinstance(store, MemoryStore)
        return sum(len(table.values) for key, table in store._tables.items() if key[4:] != b"m")


def _decoded(drafts: Sequence[Draft]) -> list[dict[str, Any]]:
    return [json.loads(draft.encoded(b'"c"')) for draft in drafts]


def data_of(events: Sequence[dict[str, Any]]) -> list[Any]:
    return [made["data"] for made in events]
