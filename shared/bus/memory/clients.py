"""Writer, appender and reader of the bus in memory."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from shared.bus.memory.log import MemoryRecord, Topic
from shared.bus.protocol import Outgoing, Record, TopicPartition, Transaction
from shared.bus.transaction_queue import consequence
from shared.errors import Fenced, TrelayError

Write = Callable[[Transaction], None]
"""Makes a transaction visible at once, or raises an error and changes nothing."""

Committed = Callable[[str, TopicPartition], Awaitable[int | None]]
"""`Bus.committed`."""


class Writes(Protocol):
    """Signals writes to readers."""

    async def next_write(self) -> None:
        """Return after the next write."""
        ...


class MemoryWriter:
    """A `Writer` that commits at once."""

    def __init__(self, name: str, write: Write, owns: Callable[[], bool], committed: Committed) -> None:
        self._name = name
        self._write = write
        self._owns = owns
        self._committed = committed
        self._failure: TrelayError | None = None

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        """Commit a transaction; the awaitable that is returned is done."""
        if not self._owns():
            raise Fenced(f"writer {self._name}: fenced by a newer writer of this name")
        if self._failure is not None:
            raise consequence(self._failure) from self._failure
        try:
            self._write(transaction)
        except TrelayError as exc:
            self._failure = exc
            raise
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def commit(self, transaction: Transaction) -> None:
        """Commit a transaction."""
        await (await self.submit(transaction))

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset that a group reads next."""
        if not self._owns():
            raise Fenced(f"writer {self._name}: fenced by a newer writer of this name")
        return await self._committed(group, position)


class MemoryAppender:
    """An `Appender` that appends at once."""

    def __init__(self, write: Write) -> None:
        self._write = write

    async def append(self, topic: str, records: Sequence[Outgoing]) -> None:
        """Append records."""
        self._write(Transaction({topic: list(records)}))


class MemoryReader:
    """A `Reader`."""

    def __init__(self, topic: Topic, positions: Mapping[int, int], writes: Writes) -> None:
        self.topic = topic.options.name
        self.positions = dict(positions)
        self._topic = topic
        self._writes = writes

    async def read(self, limit: int = 1000, wait: float | None = None) -> Sequence[Record]:
        """Return the next records."""
        try:
            async with asyncio.timeout(wait):
                while not (found := self._take(limit)):
                    await self._writes.next_write()
        except TimeoutError:
            return ()
        return found

    def seek(self, partition: int, offset: int) -> None:
        """Read a partition from an offset on."""
        self.positions[partition] = offset

    def _take(self, limit: int) -> list[MemoryRecord]:
        # Check all positions before any of them moves: an error must not lose records of other partitions.
        for number, offset in self.positions.items():
            self._topic.partitions[number].check(offset)
        taken: list[MemoryRecord] = []
        for number, offset in self.positions.items():
            if fresh := self._topic.partitions[number].since(offset, limit - len(taken)):
                taken += fresh
                self.positions[number] = fresh[-1].offset + 1
        return taken
