"""Readers that stand in the way of another one."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from shared.bus.memory import MemoryBus
from shared.bus.protocol import Reader, Record
from shared.errors import PositionLost


class ReaderAround:
    """Has the topic and the positions of another reader; how it reads is up to a subclass."""

    def __init__(self, inner: Reader) -> None:
        self._inner = inner

    @property
    def topic(self) -> str:
        return self._inner.topic

    @property
    def positions(self) -> Mapping[int, int]:
        return self._inner.positions


class BusWithHole(MemoryBus):
    """Lacks some records of a partition, as after a restore, although the bounds span them."""

    def __init__(self, partition: int, missing: range) -> None:
        super().__init__()
        self._partition = partition
        self._missing = missing

    @asynccontextmanager
    async def reader(self, topic: str, positions: Mapping[int, int]) -> AsyncIterator[Reader]:
        async with super().reader(topic, positions) as reader:
            at = positions.get(self._partition)
            lost = at in self._missing
            yield _Lost(reader, PositionLost(topic, self._partition, at or 0, self._missing.stop)) if lost else reader


class _Lost(ReaderAround):
    def __init__(self, inner: Reader, error: PositionLost) -> None:
        super().__init__(inner)
        self._error = error

    async def read(self, limit: int = 1000, wait: float | None = None) -> Sequence[Record]:
        del limit, wait
        await asyncio.sleep(0)
        raise self._error

    def seek(self, partition: int, offset: int) -> None:
        self._inner.seek(partition, offset)
