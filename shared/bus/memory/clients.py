"""Writer, appender and reader of the bus in memory."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from shared.bus.memory.log import StoredRecord, Topic
from shared.bus.protocol import Outgoing, Record, TopicPartition, Transaction
from shared.bus.transaction_queue import consequence
from shared.errors import Fenced, TrelayError

Write = Callable[[Transaction], None]
"""Makes a transaction visible at once, or raises and changes nothing."""

Committed = Callable[[str, TopicPartition], Awaitable[int | None]]
"""See `Bus.committed`."""


class News(Protocol):
    """What a reader waits on."""

    async def news(self) -> None:
        """Return after the next write."""
        ...


class MemoryWriter:
    """A `Writer`; commits at once."""

    def __init__(self, name: str, write: Write, owns: Callable[[], bool], committed: Committed) -> None:
        self._name = name
        self._write = write
        self._owns = owns
        self._committed = committed
        self._finished: TrelayError | None = None

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        """Commit; the awaitable is done already."""
        if not self._owns():
            raise Fenced(f"writer {self._name}: a newer one has taken over")
        if self._finished is not None:
            raise consequence(self._finished) from self._finished
        try:
            self._write(transaction)
        except TrelayError as exc:
            self._finished = exc
            raise
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def commit(self, transaction: Transaction) -> None:
        """Commit at once."""
        await (await self.submit(transaction))

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset a group is to read next."""
        if not self._owns():
            raise Fenced(f"writer {self._name}: a newer one has taken over")
        return await self._committed(group, position)


class MemoryAppender:
    """An `Appender`; appends at once."""

    def __init__(self, write: Write) -> None:
        self._write = write

    async def append(self, topic: str, records: Sequence[Outgoing]) -> None:
        """Append at once."""
        self._write(Transaction({topic: list(records)}))


class MemoryReader:
    """A `Reader` over the bus's lists."""

    def __init__(self, topic: Topic, positions: Mapping[int, int], news: News) -> None:
        self.topic = topic.options.name
        self.positions = dict(positions)
        self._topic = topic
        self._news = news

    async def read(self, limit: int = 1000, wait: float | None = None) -> Sequence[Record]:
        """Return what comes next."""
        try:
            async with asyncio.timeout(wait):
                while not (found := self._take(limit)):
                    await self._news.news()
        except TimeoutError:
            return ()
        return found

    def seek(self, partition: int, offset: int) -> None:
        """Go elsewhere."""
        self.positions[partition] = offset

    def _take(self, limit: int) -> list[StoredRecord]:
        # All positions are checked before any moves: what is raised here must not swallow records of other partitions.
        for number, offset in self.positions.items():
            self._topic.partitions[number].check(offset)
        taken: list[StoredRecord] = []
        for number, offset in self.positions.items():
            if fresh := self._topic.partitions[number].since(offset, limit - len(taken)):
                taken += fresh
                self.positions[number] = fresh[-1].offset + 1
        return taken
