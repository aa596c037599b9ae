"""Runs pipelines on given events as the worker does, without a bus: for `trelay eval` and `trelay test`.

Steps that ask other systems still ask them.
"""

import json
from collections.abc import Mapping
from datetime import datetime
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

_TOPIC = "sample"
_TIME = "2026-01-01T00:00:00Z"
_TRACEPARENT = b"00-00000000000000000000000000000001-0000000000000001-01"
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


class DryRun:
    """Runs one pipeline on one event after the other."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._selection = Selection([(_EVERY_SOURCE, pipeline)])
        self._poison = PoisonTracker()
        self._now = 0
        self._state = None
        if pipeline.stateful:
            instances = {name: number for number, name in enumerate(pipeline.definitions.values(), 1)}
            definitions = {pipeline.name: pipeline.definitions}
            self._state = RunningState(Layers(MemoryStore()), Moment(), lambda: self._now, definitions, instances)

    async def run(self, sample: Sample) -> Result:
        """Return what an event becomes, with the results that its time makes due.

        Steps that keep state know the events before; the clock shows the time of the event.

        Raises:
            Unavailable: a step waits for something.
        """
        batch = Batch(self._selection, self._poison)
        if self._state is not None:
            sample = _written(sample)
            self._now = sample.timestamp
        if batch.waits:
            await batch.add_waiting([sample], Scope(TopicPartition(_TOPIC, 0), _NoTurns(), self._state))
        else:
            batch.add([sample])
        return Result(batch.outputs, batch.rejects)


def entity_sample(data: bytes, number: int) -> Sample:
    """Return an event around one entity, JSON text that is valid; `number` makes its id."""
    identity = f"sample:{number}"
    head = Envelope(_SOURCE, _TYPE).head()
    value = wrap(head, json_string(identity), json_string(str(number)), _TIME.encode(), _TRACEPARENT, data)
    return Sample(value, headers_of(Provenance("sample", 0, identity).pack()), number)


def event_sample(attributes: Mapping[str, Any], number: int) -> Sample:
    """Return an event with these attributes, values of JSON; those that are required and missing are added."""
    added = {
        "specversion": "1.0",
        "id": f"sample:{number}",
        "source": _SOURCE,
        "type": _TYPE,
        "subject": str(number),
        "time": _TIME,
    }
    return Sample(json.dumps({**added, **attributes}, ensure_ascii=False).encode(errors="surrogatepass"), (), number)


def _written(sample: Sample) -> Sample:
    """Return an event as a source would have written it: with its subject as the key, at its time."""
    try:
        draft = Draft(sample.value)
        subject, time = draft.attribute("subject") or "", datetime.fromisoformat(draft.attribute("time") or _TIME)
        timestamp = int(time.timestamp() * 1000)
    except (Malformed, ValueError, OverflowError):  # a step says what is wrong with it
        return sample
    return sample._replace(key=subject.encode(), timestamp=timestamp)


class _NoTurns:
    async def breathe(self) -> None:
        """Go on: nothing else runs in this process."""

    def waited(self) -> None:
        """Nothing else runs."""
