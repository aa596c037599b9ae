"""Replicas that publish with keys, on a bus and a store in memory that fail as they are told."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from services.experience_api.producers.once.appender import OnceAppender
from services.experience_api.producers.once.keys import Guarded, Key
from services.experience_api.producers.once.memory import MemoryKeyStore
from services.experience_api.producers.once.options import OnceOptions
from services.experience_api.refusals import PUSH_IN_PROGRESS, UNAVAILABLE, Refused
from services.experience_api.registry.protocol import Node
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing, TopicOptions, Transaction, Writer
from shared.errors import TrelayError, Unavailable

TOPIC = "trelay.publish"
ONE, TWO = Node("one", 1), Node("two", 1)


class FailingBus(MemoryBus):
    """A bus whose next commit fails, before or after it has become visible."""

    def __init__(self) -> None:
        super().__init__()
        self.fail_before: TrelayError | None = None
        self.fail_after: TrelayError | None = None
        self.holding: asyncio.Event | None = None
        self.reached = asyncio.Event()

    @asynccontextmanager
    async def writer(self, name: str) -> AsyncIterator[Writer]:
        async with super().writer(name) as writer:
            yield _FailingWriter(writer, self)


class _FailingWriter:
    def __init__(self, inner: Writer, bus: FailingBus) -> None:
        self._inner = inner
        self._bus = bus
        self.committed = inner.committed

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        return await self._inner.submit(transaction)

    async def commit(self, transaction: Transaction) -> None:
        self._bus.reached.set()
        if self._bus.holding is not None:
            await self._bus.holding.wait()
        before, self._bus.fail_before = self._bus.fail_before, None
        after, self._bus.fail_after = self._bus.fail_after, None
        if before is not None:
            raise before
        await self._inner.commit(transaction)
        if after is not None:
            raise after


class Deployment:
    """Replicas that share a bus and a store."""

    def __init__(self) -> None:
        self.bus = FailingBus()
        self.gone: set[Node] = set()
        self.store = MemoryKeyStore(lambda node: node not in self.gone)
        self._ids = itertools.count(1)

    @asynccontextmanager
    async def replica(self, node: Node = ONE, **options: Any) -> AsyncIterator[OnceAppender]:
        await self.bus.ensure_topics([TopicOptions(name=TOPIC, partitions=2)])
        given = OnceOptions.model_validate(options)

        def current() -> Node:
            if node in self.gone:
                raise Refused(UNAVAILABLE)
            return node

        async with OnceAppender.opened(
            self.bus, TOPIC, self.store, current, given, lambda: f"id-{next(self._ids)}"
        ) as appender:
            yield appender

    async def published(self) -> list[bytes]:
        """Return the values on the topic."""
        bounds = await self.bus.bounds(TOPIC)
        found: list[bytes] = []
        async with self.bus.reader(TOPIC, {number: first for number, (first, _) in bounds.items()}) as reader:
            while records := await reader.read(wait=0.0):
                found += [record.value or b"" for record in records]
        return sorted(found)


def push(name: str, *values: str, fingerprint: bytes | None = b"f") -> list[Guarded]:
    records = [Outgoing(value.encode(), value.encode()) for value in values or (name,)]
    return [Guarded(Key(name.encode(), fingerprint), records)]


async def eventually(appender: OnceAppender, guarded: list[Guarded]) -> int:
    """Push again for as long as the answer is to come again."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await appender.append(guarded)
            except (Unavailable, Refused) as exc:
                if isinstance(exc, Refused) and exc.refusal is not PUSH_IN_PROGRESS:
                    raise
                await asyncio.sleep(0)
