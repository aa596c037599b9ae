"""Which of the latest events a snapshot has, and where it continues. Sans-I/O.

The stream begins at the positions that the table had before the first of its rows was read. A row from there on is left
out, because its event comes with the stream. So a subscriber receives each event once, and those of a subject in order,
although the rows are read one page after the other while they change.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from services.experience_api.hub.audience import Interest
from services.experience_api.hub.patterns import covers
from services.experience_api.latest.ranges import ChannelRange, ranges_of
from services.experience_api.latest.view import Page, Row, View
from services.experience_api.wire.cursor import CursorCodec, Vector
from services.experience_api.wire.frames import event_frame, event_payload
from services.experience_api.wire.snapshot_cursor import INTEREST_BYTES, START, Place, SnapshotEncoder
from shared.events.event import MalformedEvent

_FEW = 32
"""Rows whose frames take less than a millisecond, unless they are large."""


class Wanted(NamedTuple):
    """The next rows to read."""

    within: ChannelRange
    after: Place


def digest_of(interest: Interest) -> bytes:
    """Return what stands for the channels and filters of a subscriber."""
    text = repr((sorted(interest.patterns), sorted(interest.filters.items())))
    return hashlib.blake2s(text.encode(), digest_size=INTEREST_BYTES).digest()


@dataclass(slots=True)
class Paging:
    """One snapshot: what is sent of it, and what is left."""

    codec: CursorCodec
    view: View
    """As it was when the first row was read, or later."""
    vector: Vector
    """Where the stream begins."""
    interest: Interest
    place: Place = START
    count: int = 0
    """Events of it that were sent on this connection."""
    _left: list[ChannelRange] = field(init=False)
    _encoder: SnapshotEncoder = field(init=False)

    def __post_init__(self) -> None:
        self.select(self.interest)

    def select(self, interest: Interest) -> bool:
        """Receive other channels, or other events of them, from the place on.

        Returns False if the snapshot has to begin again, because what lies before the place would be missing. Its
        cursor is the one before every subject then.
        """
        complete = not self._lacks(interest)
        if not complete:
            self.place = START
        self.interest = interest
        self._left = [each for each in ranges_of(interest.patterns) if each.high > self.place.channel]
        self._encoder = SnapshotEncoder(self.codec, self.vector, digest_of(interest))
        return complete

    def _lacks(self, interest: Interest) -> bool:
        """Return whether an interest has events before the place that were not sent."""
        if not self.place.channel:
            return False
        before = self.interest
        names = frozenset(before.patterns)
        wildcards = [name for name in names if "*" in name]  # few: names are looked up, these are tried one by one
        for pattern in interest.patterns:
            (within,) = ranges_of([pattern])
            passed = {None, interest.filters.get(pattern)}
            sent = (name for name in (pattern, *wildcards) if name in names and covers(name, pattern))
            if within.low <= self.place.channel and not any(before.filters.get(name) in passed for name in sent):
                return True
        return False

    @property
    def cursor(self) -> bytes:
        """Of what was taken; that of the stream once nothing is left."""
        return self._encoder.encode(self.place) if self._left else self.codec.encode(self.vector)

    @property
    def wanted(self) -> Wanted | None:
        """The rows to read next; None if the snapshot is complete."""
        return Wanted(self._left[0], self.place) if self._left else None

    def fits(self, page: Page) -> bool:
        """Return whether a page belongs to what was read before."""
        return page.version == self.view.version

    def take(self, page: Page) -> Iterator[list[bytes]]:
        """Take the rows that were wanted, a few at a time; yield the frames for the subscriber."""
        for start in range(0, len(page.rows), _FEW):
            found = list(self._frames(page.rows[start : start + _FEW]))
            self.count += len(found)
            yield found
        if page.complete:
            del self._left[0]

    def _frames(self, rows: Iterable[Row]) -> Iterator[bytes]:
        for row in rows:
            self.place = row.place
            if row.generation == self.view.generation and row.offset >= self.vector[row.partition]:
                continue
            channel = row.place.channel.encode()
            if not self.interest.matches(channel):
                continue
            try:
                frame = event_frame(event_payload(row.event), self._encoder.encode(row.place))
            except MalformedEvent:
                continue  # logged when the feed read it
            if self.interest.wants(channel, frame):
                yield frame
