"""The newest events in memory, in the order in which this replica read them, bounded in bytes."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

from pydantic import Field

from services.experience_api.wire.cursor import CursorCodec, Vector
from services.experience_api.wire.records import Batch
from shared.settings import Options

_BLOCK_BYTES = 65_536
_FEWEST_BLOCKS = 8
"""Forgetting goes block by block, so they must be small beside the whole."""
_ROW_BYTES = 108
"""What an event costs here beside its frame: five list slots, the frame object's head, its offset."""


class HistoryOptions(Options):
    """How far back a subscriber resumes without asking the bus."""

    limit_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    """Memory for it. 64 MiB are some 180,000 events of 250 bytes: three minutes at 1,000 a second."""


class Block:
    """A run of events. Blocks exist so that a place is found, and what nobody wants is passed over, quickly."""

    __slots__ = ("channels", "end", "first", "frames", "offsets", "partitions", "rows", "size", "start")

    def __init__(self, first: int, start: Vector) -> None:
        self.first = first
        """Sequence number of its first event."""
        self.start = start
        """What was read before its first event."""
        self.end = start
        """What was read once its last event was."""
        self.size = 0
        self.frames: list[bytes] = []
        self.channels: list[bytes] = []
        self.partitions: list[int] = []
        self.offsets: list[int] = []
        self.rows: dict[bytes, list[int]] = {}
        """By channel, so that what nobody asks for is not even looked at."""

    @property
    def next(self) -> int:
        """Sequence number of the event after its last."""
        return self.first + len(self.frames)

    def add(self, batch: Batch, end: Vector) -> int:
        """Take a batch in; return the bytes it costs."""
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
    """A ring of blocks. Events are numbered as they come; `tail` and `head` say what was read before and after them."""

    def __init__(self, codec: CursorCodec, vector: Vector, options: HistoryOptions) -> None:
        self.codec = codec
        self.head = vector
        """What this replica has read."""
        self.size = 0
        self._limit = options.limit_bytes
        self._block_bytes = min(_BLOCK_BYTES, self._limit // _FEWEST_BLOCKS)
        self._blocks = [Block(0, vector)]

    @property
    def tail(self) -> Vector:
        """What was read before the oldest event that is kept."""
        return self._blocks[0].start

    @property
    def first(self) -> int:
        """Sequence number of the oldest event that is kept."""
        return self._blocks[0].first

    @property
    def next(self) -> int:
        """Sequence number of the event to come."""
        return self._blocks[-1].next

    def extend(self, batch: Batch) -> None:
        """Keep a batch; drop what is oldest where it does not fit."""
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
        """Note offsets that were passed without an event."""
        self.head = tuple(max(offset, positions.get(partition, 0)) for partition, offset in enumerate(self.head))

    def restart(self, codec: CursorCodec, vector: Vector) -> None:
        """Forget everything and go on from another place.

        One number stands for what is missing: whoever has read up to it is then behind what is kept, and finds out.
        """
        self.codec = codec
        self.head = vector
        self.size = 0
        self._blocks = [Block(self.next + 1, vector)]

    def block_at(self, sequence: int) -> Block | None:
        """Return the block that holds an event; None where it is still to come or no longer kept."""
        if not self.first <= sequence < self.next:
            return None
        return self._blocks[bisect_right(self._blocks, sequence, key=lambda block: block.first) - 1]

    def after(self, vector: Sequence[int]) -> Block | None:
        """Return the first block with an event that is not below a vector; None where there is none.

        What each block ends at only grows, so those that lie wholly below come first.
        """
        number = bisect_left(self._blocks, 1, key=lambda block: int(any(map(int.__gt__, block.end, vector))))
        return self._blocks[number] if number < len(self._blocks) else None
