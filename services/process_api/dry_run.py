"""Runs pipelines on given events as the worker does, without a bus: for `trelay eval`, `trelay test` and previews.

Steps that ask other systems still ask them, unless the context of the pipeline has answers.
"""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.selection import Selection
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.state.changes import Layers
from services.process_api.state.memory import MemoryStore
from services.process_api.state.running import RunningState
from services.process_api.state.step_state import Moment
from services.process_api.worker.batch import Batch
from services.process_api.worker.poison import PoisonTracker
from shared.bus.protocol import Headers, Outgoing, TopicPartition
from shared.errors import Malformed
from shared.events.dead_letter import Reject
from shared.events.event import Envelope, json_string, wrap
from shared.events.headers import Provenance, headers_of
from shared.runtime.clock import rfc3339

_TOPIC = "sample"
_TIME = "2026-01-01T00:00:00Z"
_TRACEPARENT = b"00-00000000000000000000000000000001-0000000000000001-01"
_BEGINNING = datetime.fromisoformat(_TIME).timestamp()
_SOURCE = "/sources/sample"
_TYPE = "sample"
_EVERY_SOURCE = ("*",)


class Sample(NamedTuple):
    """An event for a dry run; it is read like a record of the topic `ingest`."""

    value: bytes
    headers: Headers = ()
    offset: int = 0
    topic: str = _TOPIC
    partition: int = 0
    timestamp: int = 0
    key: bytes | None = None


class Result(NamedTuple):
    """What one event becomes."""

    events: list[Outgoing]
    dead_letters: list[Reject]


class EventClock:
    """A clock that shows the time of the newest event. To wait takes no time, and moves it on."""

    def __init__(self) -> None:
        self._at: float | None = None

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def time(self) -> float:
        """Return seconds since 1970."""
        return _BEGINNING if self._at is None else self._at

    def monotonic(self) -> float:
        """Return seconds since 1970; they never decrease."""
        return self.time()

    async def sleep(self, seconds: float) -> None:
        """Move the time on."""
        self.advance(max(0.0, seconds))
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """Move the time on."""
        self._at = self.time() + seconds

    def reach(self, at: float) -> None:
        """Move the time on to that of an event, unless it is later already."""
        self._at = at if self._at is None else max(self._at, at)


class DryRun:
    """Runs one pipeline on one event after the other."""

    def __init__(self, pipeline: Pipeline, clock: EventClock | None = None) -> None:
        """`clock` is that of the state, and may be that of the context of the pipeline."""
        self._selection = Selection([(_EVERY_SOURCE, pipeline)])
        self._poison = PoisonTracker()
        self._clock = clock or EventClock()
        self._state: RunningState | None = None
        self._left: list[Sample] = []
        """Events that are not run yet: the given one, or those that go on in a later part of the pipeline."""
        self._follows = False
        """Whether the time of the last event may have made more due: the worker adds it with the next events."""
        self._ticks = False
        """Whether time may have made something due."""
        self._made = Result([], [])
        if pipeline.stateful:
            instances = {name: number for number, name in enumerate(pipeline.definitions.values(), 1)}
            definitions = {pipeline.name: pipeline.definitions}
            self._state = RunningState(Layers(MemoryStore()), Moment(), self._milliseconds, definitions, instances)

    async def run(self, sample: Sample) -> Result:
        """Return what an event becomes, with the results that its time makes due.

        Steps that keep state know the events before; the clock shows the time of the newest one.

        Raises:
            Unavailable: a step waits for something; `again` tries it again.
        """
        self._left, self._made, self._ticks = [self._written(sample)], Result([], []), False
        return await self.again()

    async def tick(self) -> Result:
        """Return what the time makes due without an event. Raises what `run` does."""
        self._left, self._made, self._ticks = [], Result([], []), self._state is not None
        return await self.again()

    async def again(self) -> Result:
        """Go on with the last event, or the last tick, at the step that waited. Raises what `run` does.

        Each part of a pipeline is a transaction of its own, as in the worker: those before the one that waits are done.
        """
        while self._left or self._follows or self._ticks:
            if self._follows:
                self._follows = await self._due()
            elif self._left:
                await self._one(self._left[0])
            else:
                assert self._state is not None, "else nothing is due"
                self._state.at_no_record()
                self._ticks = await self._due()
        return self._made

    async def _one(self, sample: Sample) -> None:
        batch = Batch(self._selection, self._poison)
        try:
            if batch.waits:
                await batch.add_waiting([sample], self._scope())
            else:
                batch.add([sample])
        finally:
            if batch.count:  # else a step waits, and the event comes again
                self._left.pop(0)
                self._follows = self._state is not None
                self._keep(batch, sample.offset)

    async def _due(self) -> bool:
        """Add the next results that are due; return whether there were any."""
        batch = Batch(self._selection, self._poison)
        await batch.add_due(self._scope(), 0)
        self._keep(batch, 0)
        return bool(batch.outputs or batch.forwarded or batch.rejects)

    def _keep(self, batch: Batch, offset: int) -> None:
        """Keep what a batch holds; what its events become in the next part of the pipeline comes next."""
        self._made.events.extend(batch.outputs)
        self._made.dead_letters.extend(batch.rejects)
        now = self._milliseconds()
        self._left[:0] = [
            Sample(event.value or b"", event.headers, offset, timestamp=now, key=event.key) for event in batch.forwarded
        ]

    def _scope(self) -> Scope:
        return Scope(TopicPartition(_TOPIC, 0), _NoTurns(), self._state)

    def _milliseconds(self) -> int:
        return round(self._clock.time() * 1000)

    def _written(self, sample: Sample) -> Sample:
        """Return an event as a source would have written it: with its subject as the key, at its time or now."""
        if sample.timestamp:
            self._clock.reach(sample.timestamp / 1000)
            return sample
        try:
            draft = Draft(sample.value)
            subject, time = draft.attribute("subject") or "", datetime.fromisoformat(draft.attribute("time") or _TIME)
            self._clock.reach(time.timestamp())
        except (Malformed, ValueError, OverflowError):  # a step says what is wrong with it
            return sample
        return sample._replace(key=subject.encode(), timestamp=self._milliseconds())


def entity_sample(data: bytes, number: int) -> Sample:
    """Return an event around one entity, JSON text that is valid; `number` makes its id."""
    identity = f"sample:{number}"
    head = Envelope(_SOURCE, _TYPE).head()
    value = wrap(head, json_string(identity), json_string(str(number)), _TIME.encode(), _TRACEPARENT, data)
    return Sample(value, headers_of(Provenance("sample", 0, identity).pack()), number)


def event_sample(attributes: Mapping[str, Any], number: int, at: float = _BEGINNING) -> Sample:
    """Return an event with these attributes, values of JSON; those that are required and missing are added.

    `at` is the time in seconds since 1970 of an event without one.
    """
    added = {
        "specversion": "1.0",
        "id": f"sample:{number}",
        "source": _SOURCE,
        "type": _TYPE,
        "subject": str(number),
        "time": _TIME if at == _BEGINNING else rfc3339(at),
    }
    return Sample(json.dumps({**added, **attributes}, ensure_ascii=False).encode(errors="surrogatepass"), (), number)


class _NoTurns:
    def due(self) -> bool:
        """Nothing else has to run."""
        return False

    async def rest(self) -> None:
        """Go on."""

    async def breathe(self) -> None:
        """Go on: nothing else runs in this process."""

    def waited(self) -> None:
        """Nothing else runs."""
