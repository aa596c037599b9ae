"""Compares what an upstream has with what was published of it, for a range of time.

The upstream counts its rows by the time of their last change. The topic of the source is read from its beginning: of
each row, the newest event counts, so that a row that changed again after the range is in neither number. A row that was
deleted upstream is published and not there any more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.system_api.sources.capabilities import Countable, Recountable
from services.system_api.sources.source import Checkpoint, SourceOpener
from shared.bus.protocol import Bus, Record
from shared.errors import Malformed, PositionLost, Unavailable
from shared.events.event import MalformedEvent
from shared.events.headers import packed_provenance, unpack_provenance

_MAX_ENTITIES = 2_000_000
"""Entities that are told apart; each takes some 200 bytes."""
_CLOCK_SKEW_MS = 300_000
"""A record may be written this long before the time of its event, by another clock."""
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_WAIT = 1.0
_PATIENCE = 20
"""Waits in a row without a record until the bus counts as unavailable."""


class _Event(msgspec.Struct):
    """What is read of an event."""

    time: datetime


@dataclass(slots=True)
class Published:
    """What the topic has of a source."""

    since: datetime
    until: datetime
    entity: Callable[[str], str | None]
    events: int = 0
    """Events within the range."""
    newest: dict[str, datetime] = field(default_factory=dict)
    """By entity, of events since the beginning of the range: the newest time."""
    complete: bool = True
    """Whether the topic still has everything since the beginning of the range."""

    @property
    def entities(self) -> int:
        """Entities whose newest event is within the range."""
        return sum(time < self.until for time in self.newest.values())

    def add(self, position: str, time: datetime) -> None:
        """Count an event.

        Raises:
            Malformed: there are too many entities.
        """
        if time < self.since:
            return
        entity = self.entity(position)
        if entity is None:
            return
        self.events += time < self.until
        known = self.newest.get(entity)
        if known is None and len(self.newest) >= _MAX_ENTITIES:
            raise Malformed(f"more than {_MAX_ENTITIES} entities changed since then; expected a later beginning")
        if known is None or time > known:
            self.newest[entity] = time


async def reconcile(
    bus: Bus,
    topic: str,
    source: str,
    opened: tuple[SourceOpener, Checkpoint],
    since: datetime | None,
    until: datetime | None,
) -> dict[str, Any]:
    """Return both counts and their difference as JSON; `topic` is that of the source's events.

    Without `since` and `until`, everything that can be compared is.

    Raises:
        Malformed: the source cannot count, or the range is empty.
        Unavailable: the upstream or the bus does not answer.
    """
    begin, end = since or _FIRST, until or _LAST
    if end <= begin:
        raise Malformed("from, to: expected a range that ends after it begins")
    opener, checkpoint = opened
    async with opener(checkpoint) as upstream:
        remarks: Sequence[str] = ()
        published = Published(begin, end, _whole)
        # Before the topic is read: what changes meanwhile lies after the range, or behind the position.
        if isinstance(upstream, Recountable):
            count = await upstream.recount(since, until)
            published.entity, remarks = upstream.entity, upstream.remarks
        elif isinstance(upstream, Countable):
            if since is None or until is None:
                raise Malformed("from, to: expected both with this kind of source")
            count = await upstream.count(since, until)
            published.entity = upstream.entity
        else:
            raise Malformed(
                "this kind of source cannot count what its upstream has, as files and tables with an"
                " `updated_at_column` do; `trelay sources counts NAME` shows what it has read and published"
            )
    await _read(bus, topic, source, published)
    return {
        "upstream": count,
        "published": published.entities,
        "difference": count - published.entities,
        "events": published.events,
        "complete": published.complete,
    } | ({"not_compared": list(remarks)} if remarks else {})


def _whole(position: str) -> str:
    return position


async def _read(bus: Bus, topic: str, source: str, published: Published) -> None:
    bounds = await bus.bounds(topic)
    written_since = published.since.timestamp() * 1000 - _CLOCK_SKEW_MS
    kept_since: dict[int, int] = {}
    waited = 0
    async with bus.reader(topic, {number: first for number, (first, _) in bounds.items()}) as reader:
        while any(reader.positions[number] < end for number, (_, end) in bounds.items()):
            try:
                records = await reader.read(wait=_WAIT)
            except PositionLost as exc:
                published.complete = False
                reader.seek(exc.partition, exc.earliest)
                continue
            waited = 0 if records else waited + 1
            if waited > _PATIENCE:
                raise Unavailable(bus.problem or f"{topic}: no record within {_PATIENCE * _WAIT:g} s")
            for record in records:
                kept_since.setdefault(record.partition, record.timestamp)
                if record.timestamp >= written_since:
                    _count(record, source, published)
    # A partition that has lost its beginning, and whose first record is newer than the range, may have lost some of it.
    lost = [number for number, (first, _) in bounds.items() if first and kept_since.get(number, 0) > written_since]
    published.complete = published.complete and not lost


def _count(record: Record, source: str, published: Published) -> None:
    packed = packed_provenance(record.headers)
    if packed is None or not packed.startswith(source.encode() + b" "):
        return
    try:
        identity = unpack_provenance(packed).id
        time = msgspec.json.decode(record.value or b"", type=_Event).time
    except (MalformedEvent, msgspec.MsgspecError):
        return  # not written by a source
    published.add(identity.removeprefix(f"{source}:"), time)
