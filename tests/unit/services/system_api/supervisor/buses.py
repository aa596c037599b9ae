"""Buses in memory that fail before and after commits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable

from shared.bus.memory import MemoryBus
from shared.bus.protocol import TopicPartition, Transaction, Writer
from shared.errors import Unavailable


class FailingBus(MemoryBus):
    """Every third transaction fails, half of them after the commit."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    @contextlib.asynccontextmanager
    async def writer(self, name: str) -> AsyncIterator[Writer]:
        async with super().writer(name) as writer:
            yield FailingWriter(writer, self)


class FailingWriter:
    def __init__(self, writer: Writer, bus: FailingBus) -> None:
        self._writer = writer
        self._bus = bus

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        self._bus.count += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._bus.count % 6 == 3:
            raise Unavailable("broker not available")
        await self._writer.commit(transaction)
        if self._bus.count % 6 == 0:
            done.set_exception(Unavailable("no response"))
        else:
            done.set_result(None)
        return done

    async def commit(self, transaction: Transaction) -> None:
        await (await self.submit(transaction))

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        return await self._writer.committed(group, position)
