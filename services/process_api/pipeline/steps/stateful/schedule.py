"""`- schedule: {quiet: 300}`: a heartbeat event when a subject has been quiet for a time."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec
from pydantic import Field

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.stateful.grouping import By, Grouping, kept_key, key_of
from services.process_api.pipeline.steps.stateful.step import DUE_LIMIT, Due, StatefulOptions, StatefulStep
from services.process_api.pipeline.steps.step import Example
from services.process_api.state.keys import WALL_TIMER
from services.process_api.state.step_state import StepState
from shared.events.event import json_string
from shared.events.headers import Provenance
from shared.runtime.clock import rfc3339
from shared.settings import EventType, Options

_MS = 1000
_SETTLED = 5 * _MS
"""Milliseconds without a record after which the partition is taken for read to its end: before, records may wait that
were written in time, as after a restart."""
_IDENTITY_LENGTH = 16


class Schedule(Options):
    """When a heartbeat is due."""

    quiet: float = Field(ge=5, le=86_400 * 31)
    """Seconds after the last event of a subject, by the time at which it was written to the bus, until the heartbeat. A
    subject that has never sent an event has none."""

    by: By = Field(default_factory=list)
    """JSONata expressions, one or a list, that divide the events of one subject; each part has its own heartbeats."""

    times: int | None = Field(default=1, ge=1)
    """How many heartbeats a quiet subject has, one after each `quiet`; null: without end. After the last one it is
    forgotten until its next event."""

    type: EventType = Field(default="heartbeat", min_length=1, max_length=200)
    """The attribute `type` of heartbeats; steps behind recognise them by it."""


class ScheduleOptions(StatefulOptions):
    """Passes each event, and adds a heartbeat event when a subject has been quiet for a time."""

    kind: ClassVar = "schedule"
    takes_copies: ClassVar = True
    example: ClassVar = Example(
        "schedule: {quiet: 300}", [({"id": "a", "data": {"level": 7}}, [{"id": "a", "data": {"level": 7}}])]
    )

    schedule: Schedule
    """When a heartbeat is due, and how it looks."""

    def expressions(self) -> list[str]:
        return list(self.schedule.by)

    def build(self, context: StepContext) -> "ScheduleStep":
        return ScheduleStep(self.schedule, self.fingerprint, context)


class _Subject(msgspec.Struct, array_like=True):
    seen: int
    """When its last event was written to the bus, in milliseconds since 1970."""
    count: int
    """Heartbeats since then."""
    subject: str
    source: str
    by: tuple[bytes, ...]
    kept_key: bytes | None = None
    """Of the record of its last event; see `kept_key` of `grouping`."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Subject).decode


class ScheduleStep(StatefulStep):
    """The value of a group is its last event. Its timer is not moved by each event, but checked when it is due."""

    def __init__(self, options: Schedule, fingerprint: str, context: StepContext) -> None:
        super().__init__(context)
        self._grouping = Grouping(options.by)
        self._quiet = int(options.quiet * _MS)
        self._times = options.times
        self._type = options.type
        self._identity = f"{self.pipeline}:{fingerprint}"

    def process(self, draft: Draft, state: StepState) -> Sequence[Draft]:
        moment, group = state.moment, self._grouping.of(draft, state.moment)
        found = state.get(group.key)
        known = None if found is None else _decode(found)
        seen = moment.timestamp if known is None else max(moment.timestamp, known.seen)
        source, name = (draft.attribute("source") or "").removeprefix("/sources/"), draft.attribute("subject") or ""
        subject = _Subject(seen, 0, name, source, group.values, kept_key(moment.key, name))
        state.put(group.key, _encode(subject))
        if known is not None and known.count:
            state.clear_timer(WALL_TIMER, self._due_at(known), group.key)
        if known is None or known.count:
            state.set_timer(WALL_TIMER, self._due_at(subject), group.key)
        return (draft,)

    def due(self, state: StepState) -> Iterable[Due]:
        moment = state.moment
        if moment.idle and moment.now - moment.since < _SETTLED:
            return
        # Records of a partition are in the order of their times: up to that of this record, none can come any more.
        for at, key in state.take_due(WALL_TIMER, moment.timestamp, DUE_LIMIT):
            found = state.get(key)
            assert found is not None, "a subject has one timer"
            subject = _decode(found)
            if (due_at := self._due_at(subject)) > at:
                state.set_timer(WALL_TIMER, due_at, key)
                continue
            subject.count += 1
            if subject.count == self._times:
                state.delete(key)
            else:
                state.put(key, _encode(subject))
                state.set_timer(WALL_TIMER, self._due_at(subject), key)
            yield self._heartbeat(subject, at, key)

    def next_due(self, state: StepState) -> int | None:
        first, moment = state.next_timer(WALL_TIMER), state.moment
        return None if first is None else max(first, moment.since + _SETTLED)

    def _due_at(self, subject: _Subject) -> int:
        return subject.seen + self._quiet * (subject.count + 1)

    def _heartbeat(self, subject: _Subject, at: int, key: bytes) -> Due:
        """Return the heartbeat of a subject at a time; the same one always has the same id."""
        identity = f"{self._identity}:{hashlib.sha256(key).hexdigest()[:_IDENTITY_LENGTH]}:{at}"
        head = {
            "specversion": "1.0",
            "id": identity,
            "source": f"/sources/{subject.source}",
            "type": self._type,
            "subject": subject.subject,
            "time": rfc3339(at / _MS),
        }
        attributes = b",".join(b'"%b":%b' % (name.encode(), json_string(text)) for name, text in head.items() if text)
        by = b',"by":[%b]' % b",".join(subject.by) if subject.by else b""
        since = json_string(rfc3339(subject.seen / _MS))
        data = b'{"since":%b,"quiet":%d,"count":%d%b}' % (since, (at - subject.seen) // _MS, subject.count, by)
        value = b'{%b,"data":%b}' % (attributes, data)
        headers = Provenance(subject.source, at, identity).headers()
        return Due(Draft(value), headers, key_of(subject.kept_key, subject.subject))
