"""Keeps the newest events in memory, in the order in which this replica read them, bounded in bytes."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from pydantic import Field

from services.experience_api.wire.cursor import CursorCodec, Vector
from services.experience_api.wire.records import Batch
from shared.settings import Options

_BLOCK_BYTES = 65_536
_FEWEST_BLOCKS = 8
"""Events are dropped block by block, so a block must be small compared to the whole."""
_SELECTIONS_LIMIT, _SELECTED_LIMIT = 256, 8192
"""How many selections a block keeps, and up to how many rows in all: they take about as much memory as the block."""
_ROW_BYTES = 108
"""Memory of an event besides its frame: five list slots, the header of the bytes object, its offset."""


class HistoryOptions(Options):
    """How far back a subscriber resumes without the bus."""

    limit_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    """Bytes of memory. 64 MiB hold some 180,000 events of 250 bytes: three minutes at 1,000 a second."""


@dataclass(slots=True)
class Selected:
    """The rows of a block that some connections receive."""

    rows: list[int] = field(default_factory=list)
    end: int = 0
    """The first row that was not considered yet."""


class Block:
    """A run of events. Blocks make it fast to find a position and to skip channels that do not match."""

    __slots__ = ("channels", "end", "first", "frames", "offsets", "partitions", "rows", "selected", "size", "start")

    def __init__(self, first: int, start: Vector) -> None:
        self.first = first
        """Sequence number of its first event."""
        self.start = start
        """The offsets read before its first event."""
        self.end = start
        """The offsets read with its last event."""
        self.size = 0
        self.frames: list[bytes] = []
        self.channels: list[bytes] = []
        self.partitions: list[int] = []
        self.offsets: list[int] = []
        self.rows: dict[bytes, list[int]] = {}
        """Rows by channel, so that events of other channels are not touched."""
        self.selected: WeakKeyDictionary[object, Selected] = WeakKeyDictionary()
        """Rows by who receives them, for as long as there is one: of those that filters select."""

    @property
    def next(self) -> int:
        """Sequence number of the event after its last one."""
        return self.first + len(self.frames)

    def select(self, who: object, receives: Callable[[bytes, bytes], bool]) -> list[int]:
        """Return the rows whose channel and frame some connections receive; each is considered once for all of them.

        So many connections that resume beside each other with equal filters do not evaluate them again.
        """
        found = self.selected.get(who)
        if found is None:
            found = Selected()
            kept = list(self.selected.values())
            if len(kept) < _SELECTIONS_LIMIT and sum(len(each.rows) for each in kept) < _SELECTED_LIMIT:
                self.selected[who] = found
        for row in range(found.end, len(self.frames)):
            if receives(self.channels[row], self.frames[row]):
                found.rows.append(row)
        found.end = len(self.frames)
        return found.rows

    def add(self, batch: Batch, end: Vector) -> int:
        """Append a batch; return the bytes of memory it uses."""
        for row, channel in enumerate(batch.channels, len(self.frames)):
            self.rows.setdefault(channel, []).append(row)
        self.frames += batch.frames
        self.channels += batch.channels
        self.partitions += batch.partitions
        self.offsets += batch.offsets
        self.end = end
        cost = batch.size + _ROW_BYTES * len(batch.frames)
        self.size += cost
        return cost


class History:
    """A ring of blocks. Events are numbered in reading order; `tail` and `head` are the offsets around them."""

    def __init__(self, codec: CursorCodec, vector: Vector, options: HistoryOptions) -> None:
        self.codec = codec
        self.head = vector
        """The next offset of every partition that this replica has not read."""
        self.size = 0
        self._limit = options.limit_bytes
        self._block_bytes = min(_BLOCK_BYTES, self._limit // _FEWEST_BLOCKS)
        self._blocks = [Block(0, vector)]

    @property
    def tail(self) -> Vector:
        """The offsets read before the oldest event in memory."""
        return self._blocks[0].start

    @property
    def first(self) -> int:
        """Sequence number of the oldest event in memory."""
        return self._blocks[0].first

    @property
    def next(self) -> int:
        """Sequence number of the next event to be read."""
        return self._blocks[-1].next

    def extend(self, batch: Batch) -> None:
        """Append a batch; drop the oldest blocks beyond the limit."""
        head = list(self.head)
        for partition, offset in zip(batch.partitions, batch.offsets, strict=True):
            head[partition] = offset + 1
        block = self._blocks[-1]
        if block.size >= self._block_bytes:
            block = Block(block.next, self.head)
            self._blocks.append(block)
        self.head = tuple(head)
        self.size += block.add(batch, self.head)
        while self.size > self._limit and len(self._blocks) > 1:
            self.size -= self._blocks.pop(0).size

    def advance(self, positions: Mapping[int, int]) -> None:
        """Advance the head over offsets without an event."""
        self.head = tuple(max(offset, positions.get(partition, 0)) for partition, offset in enumerate(self.head))

    def restart(self, codec: CursorCodec, vector: Vector) -> None:
        """Drop everything and continue at other offsets.

        One sequence number is skipped, so that a replay that had reached the head is now behind the oldest event and
        detects the gap.
        """
        self.codec = codec
        self.head = vector
        self.size = 0
        self._blocks = [Block(self.next + 1, vector)]

    def block_at(self, sequence: int) -> Block | None:
        """Return the block that holds an event; None if it is still to come or no longer in memory."""
        if not self.first <= sequence < self.next:
            return None
        return self._blocks[bisect_right(self._blocks, sequence, key=lambda block: block.first) - 1]

    def after(self, vector: Sequence[int]) -> Block | None:
        """Return the first block with an event at or above a vector; None if there is none.

        The ends of the blocks only grow, so those that lie wholly below the vector come first.
        """
        number = bisect_left(self._blocks, 1, key=lambda block: int(any(map(int.__gt__, block.end, vector))))
        return self._blocks[number] if number < len(self._blocks) else None
