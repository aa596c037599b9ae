"""Brings one subscriber from its own cursor to the head of the stream: no gap, no event twice, channels in order.

Replicas interleave the partitions differently, so a subscriber that comes from another replica may be ahead of this
one in some partitions and behind it in others. Until it is live, events below its own vector are skipped, and each
frame carries the larger of the frame's vector and the subscriber's, partition by partition: exactly what this
subscriber has received. Once the two vectors are equal, it can receive the same frames as every live subscriber.
"""

import heapq
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum, auto

from services.experience_api.stream.history import Block, History
from services.experience_api.wire.cursor import Vector
from services.experience_api.wire.frames import event_frame, event_payload, with_cursor
from shared.bus.protocol import Record
from shared.events.event import MalformedEvent

Matches = Callable[[bytes], bool]
"""Returns whether the subscriber receives a channel."""


Wants = Callable[[bytes, bytes], bool]
"""Returns whether the subscriber receives the event of a frame, on a channel that matches."""

_BLOCK_COST = 1024
"""Bytes of the budget that reading a block takes besides its frames: a step must be short if few events match, too."""


class Progress(Enum):
    """What a replay needs next."""

    READ_LOG = auto()
    """Memory does not reach back far enough: read `missing` from the bus."""
    TAKE = auto()
    """Memory holds more."""
    WAIT = auto()
    """The subscriber is ahead of this replica, which has to read on first."""
    LIVE = auto()
    """Nothing: the subscriber has received all that this replica has read."""


def _wants_all(channel: bytes, frame: bytes) -> bool:
    del channel, frame
    return True


class Replay:
    """What one subscriber has still to receive. Sans-I/O: takes records of the bus, returns frames."""

    def __init__(
        self,
        history: History,
        vector: Vector,
        matches: Matches,
        wants: Wants = _wants_all,
        who: object | None = None,
    ) -> None:
        """`who` is equal for all who receive the same events: `wants` is evaluated once for them. None for one."""
        self._history = history
        self._matches = matches
        self._wants = wants
        self._who = who
        self._received = list(vector)
        """Next offset per partition that the subscriber has not received."""
        self._read: list[int] = []
        """What this replica had read before the event `_next`; meaningless while `_next` is None."""
        self._next: int | None = None
        """Sequence number in the history of the next event."""

    @property
    def cursor(self) -> bytes:
        """The cursor of what the subscriber has received."""
        return self._history.codec.encode(self._received)

    @property
    def lag(self) -> int:
        """Records that the subscriber has not been served, of those that this replica has read."""
        return sum(max(0, head - received) for head, received in zip(self._history.head, self._received, strict=True))

    @property
    def ahead(self) -> bool:
        """Whether the subscriber has received events that this replica has not read yet."""
        return any(map(int.__gt__, self._received, self._history.head))

    def missing(self) -> dict[int, int]:
        """Return the partitions for which memory does not reach back far enough, with the offsets to read from."""
        tail = self._history.tail
        return {number: offset for number, offset in enumerate(self._received) if offset < tail[number]}

    def needs(self, partitions: Collection[int]) -> bool:
        """Return whether any of these partitions is missing."""
        return not self.missing().keys().isdisjoint(partitions)

    def add(self, records: Iterable[Record], positions: Mapping[int, int]) -> list[bytes]:
        """Take records of the bus in their order, and the positions read up to; return frames for the subscriber."""
        frames = []
        for record in records:
            if record.offset < self._received[record.partition]:
                continue
            self._received[record.partition] = record.offset + 1
            channel = record.key or b""
            if not self._matches(channel):
                continue
            try:
                frame = event_frame(event_payload(record.value), self.cursor)
            except MalformedEvent:
                continue  # logged when the feed read it
            if self._wants(channel, frame):
                frames.append(frame)
        for partition, offset in positions.items():
            self._received[partition] = max(self._received[partition], offset)
        return frames

    def select(self, matches: Matches, wants: Wants = _wants_all, who: object | None = None) -> None:
        """Receive other channels, or other events of them, from the cursor on."""
        self._matches = matches
        self._wants = wants
        self._who = who

    def skip(self, partition: int, offset: int) -> None:
        """Continue at another offset of a partition. The caller sends the subscriber a gap event."""
        self._received[partition] = offset
        self._next = None

    def beyond(self, ends: Mapping[int, int]) -> list[int]:
        """Return the partitions whose end lies before what the subscriber has received: the log was truncated."""
        return [partition for partition, end in ends.items() if self._received[partition] > end]

    @property
    def place(self) -> int | None:
        """Sequence number of the next event in memory, if the frames from there on are the shared ones; else None."""
        return self._next if self._placed() and self._received == self._read else None

    @property
    def end(self) -> int:
        """Sequence number of the event that this replica reads next."""
        return self._history.next

    def pass_all(self) -> None:
        """Advance over all that memory holds: the caller has its frames."""
        self._next = self._history.next
        self._merge(self._history.head)

    def take(self, budget: int) -> tuple[list[bytes], Progress]:
        """Return the next frames that memory holds, at most `budget` bytes and a block, and what is needed next.

        No frames with `Progress.TAKE` means that no event of these blocks matches.
        """
        frames: list[bytes] = []
        if not self._placed():
            if self.missing():
                return frames, Progress.READ_LOG
            self._place()
        while budget > 0 and (block := self._block()) is not None:
            budget -= self._take_block(block, budget, frames)
        if self._next != self._history.next:
            return frames, Progress.TAKE
        self._merge(self._history.head)
        return frames, Progress.LIVE if self._received == self._read else Progress.WAIT

    def _placed(self) -> bool:
        """Return whether the next event is in memory, or still to come."""
        return self._next is not None and self._next >= self._history.first

    def _place(self) -> None:
        block = self._history.after(self._received)
        if block is None:
            self._next = self._history.next
            self._merge(self._history.head)
        else:
            self._next = block.first
            self._merge(block.start)

    def _block(self) -> Block | None:
        return None if self._next is None else self._history.block_at(self._next)

    def _take_block(self, block: Block, budget: int, frames: list[bytes]) -> int:
        """Take the events of a block from the next one on, to its end or the budget's; return the budget used."""
        assert self._next is not None
        start = self._next - block.first
        if start == 0:
            self._merge(block.start)
        matching = [found for channel, found in block.rows.items() if self._matches(channel)]
        if self._received == self._read or not matching:
            found = [block.frames[row] for row in self._rows(block, start, matching)]
            self._next = block.next
            self._merge(block.end)
        else:
            found = self._take_each(block, start, budget)
        frames += found
        return sum(map(len, found)) + _BLOCK_COST

    def _take_each(self, block: Block, start: int, budget: int) -> list[bytes]:
        """Take the events one by one: the subscriber has received some, and each frame needs a cursor of its own."""
        frames = []
        selected = None if self._who is None else set(self._rows(block, start, ()))
        for row in range(start, len(block.frames)):
            frame = self._take_row(block, row, selected)
            if frame is not None:
                frames.append(frame)
                budget -= len(frame)
                if budget <= 0:
                    break
        return frames

    def _take_row(self, block: Block, row: int, selected: set[int] | None) -> bytes | None:
        """Advance over one event; return its frame if it matches and the subscriber has not received it."""
        partition, offset = block.partitions[row], block.offsets[row]
        self._next = block.first + row + 1
        self._read[partition] = offset + 1
        if offset < self._received[partition]:
            return None
        self._received[partition] = offset + 1
        frame = block.frames[row]
        if not (self._receives(block.channels[row], frame) if selected is None else row in selected):
            return None
        return frame if self._received == self._read else with_cursor(frame, self.cursor)

    def _rows(self, block: Block, start: int, matching: Iterable[list[int]]) -> Iterable[int]:
        """Return the rows from one on that the subscriber receives, of those that match by their channel."""
        if self._who is not None:
            rows = block.select(self._who, self._receives)
            return rows[bisect_left(rows, start) :]
        return (
            row
            for row in heapq.merge(*matching)
            if row >= start and self._wants(block.channels[row], block.frames[row])
        )

    def _receives(self, channel: bytes, frame: bytes) -> bool:
        return self._matches(channel) and self._wants(channel, frame)

    def _merge(self, vector: Vector) -> None:
        """Set what this replica had read before the next event; the subscriber has received at least that."""
        self._read = list(vector)
        self._received = list(map(max, self._received, vector))
