"""Brings one subscriber from its own cursor to where everybody is: no gap, no event twice, channels in order.

Replicas interleave the partitions differently, so a subscriber that comes from another replica may be ahead of this
one in some partitions and behind it in others. While it is fed from here, what lies below its own vector is skipped,
and each frame carries the larger of the frame's vector and the subscriber's, partition by partition: exactly what
this subscriber has. Once the two are one, the frames of everybody are its frames too.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping

from services.experience_api.stream.history import Block, History
from services.experience_api.wire.cursor import Vector
from services.experience_api.wire.frames import event_frame, event_payload, with_cursor
from shared.bus.protocol import Record
from shared.events.event import MalformedEvent

Wants = Callable[[bytes], bool]

_BLOCK_COST = 1024
"""What passing a block takes of a budget beside its frames: a step must be short, too, where little is wanted."""


class Replay:
    """What one subscriber still has to be given. Sans-I/O: it is handed what the bus kept, and hands out frames."""

    def __init__(self, history: History, vector: Vector, wants: Wants) -> None:
        self._history = history
        self._wants = wants
        self._has = list(vector)
        """What the subscriber has."""
        self._at: list[int] = []
        """What this replica had read at the event numbered `_next`; meaningless while `_next` is None."""
        self._next: int | None = None

    @property
    def cursor(self) -> bytes:
        """What the subscriber has, for it to keep."""
        return self._history.codec.encode(self._has)

    @property
    def lost(self) -> bool:
        """Whether memory does not reach back far enough, so that the bus must be asked for `missing`."""
        return not self._placed() and bool(self.missing())

    @property
    def level(self) -> bool:
        """Whether the subscriber has what everybody has: from here on, everybody's frames are right for it."""
        return self._next == self._history.next and self._has == self._at

    @property
    def beyond(self) -> bool:
        """Whether the subscriber has what this replica has not read yet."""
        return any(map(int.__gt__, self._has, self._history.head))

    @property
    def waits(self) -> bool:
        """Whether this replica has to read on before there is anything to say: it is behind the subscriber."""
        return self._next == self._history.next and not self.level

    def missing(self) -> dict[int, int]:
        """Return the partitions that memory does not reach back far enough for, and from where to read them."""
        tail = self._history.tail
        return {number: offset for number, offset in enumerate(self._has) if offset < tail[number]}

    def lacks(self, partitions: Collection[int]) -> bool:
        """Whether any of these partitions is among the missing."""
        return not self.missing().keys().isdisjoint(partitions)

    def absorb(self, records: Iterable[Record], positions: Mapping[int, int]) -> list[bytes]:
        """Take what the bus kept, in its order, and how far that was; return the frames for the subscriber."""
        frames = []
        for record in records:
            if record.offset < self._has[record.partition]:
                continue
            self._has[record.partition] = record.offset + 1
            if not self._wants(record.key or b""):
                continue
            try:
                frames.append(event_frame(event_payload(record.value), self.cursor))
            except MalformedEvent:
                continue  # said when it first passed
        for partition, offset in positions.items():
            self._has[partition] = max(self._has[partition], offset)
        return frames

    def skip(self, partition: int, offset: int) -> None:
        """Go on from another offset of a partition; the subscriber is told that something may be missing."""
        self._has[partition] = offset
        self._next = None

    def cut_by(self, ends: Mapping[int, int]) -> list[int]:
        """Return the partitions that end before what the subscriber has of them: then the log has become shorter."""
        return [partition for partition, end in ends.items() if self._has[partition] > end]

    def take(self, budget: int) -> list[bytes]:
        """Return what memory holds next, `budget` bytes and a block at most.

        Returning nothing means nothing: so far there may have been nothing for this subscriber. See `lost`, `level`
        and `waits` for what to do next; where none of them is so, take again.
        """
        frames: list[bytes] = []
        if not self._placed():
            if self.missing():
                return frames
            self._place()
        while budget > 0 and (block := self._block()) is not None:
            budget -= self._pass(block, budget, frames)
        if self._next == self._history.next:
            self._meet(self._history.head)
        return frames

    def _placed(self) -> bool:
        """Whether the next event is one that memory holds, or one to come."""
        return self._next is not None and self._next >= self._history.first

    def _place(self) -> None:
        block = self._history.after(self._has)
        if block is None:
            self._next = self._history.next
            self._meet(self._history.head)
        else:
            self._next = block.first
            self._meet(block.start)

    def _block(self) -> Block | None:
        return None if self._next is None else self._history.block_at(self._next)

    def _pass(self, block: Block, budget: int, frames: list[bytes]) -> int:
        """Go through a block from the next event on, to its end or the budget's; return what of the budget it took."""
        assert self._next is not None
        start = self._next - block.first
        if start == 0:
            self._meet(block.start)
        wanted = [rows for channel, rows in block.rows.items() if self._wants(channel)]
        if self._has == self._at or not wanted:
            found = [block.frames[row] for row in heapq.merge(*wanted) if row >= start]
            self._next = block.next
            self._meet(block.end)
        else:
            found = self._pass_each(block, start, budget)
        frames += found
        return sum(map(len, found)) + _BLOCK_COST

    def _pass_each(self, block: Block, start: int, budget: int) -> list[bytes]:
        """Go through the events one by one: some of them the subscriber has, and each cursor must be made for it."""
        frames = []
        for row in range(start, len(block.frames)):
            frame = self._event(block, row)
            if frame is not None:
                frames.append(frame)
                budget -= len(frame)
                if budget <= 0:
                    break
        return frames

    def _event(self, block: Block, row: int) -> bytes | None:
        """Pass one event; return its frame where the subscriber wants it and has it not."""
        partition, offset = block.partitions[row], block.offsets[row]
        self._next = block.first + row + 1
        self._at[partition] = offset + 1
        if offset < self._has[partition]:
            return None
        self._has[partition] = offset + 1
        if not self._wants(block.channels[row]):
            return None
        frame = block.frames[row]
        return frame if self._has == self._at else with_cursor(frame, self.cursor)

    def _meet(self, vector: Vector) -> None:
        """This replica had read so much at the next event."""
        self._at = list(vector)
        self._has = list(map(max, self._has, vector))
