"""A broker in memory: a list of messages that are delivered until they are acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.system_api.sources.queue.message import Ledger, Message, Received
from services.system_api.sources.queue.recent_ids import RecentIds
from services.system_api.sources.source import Checkpoint
from shared.errors import Unavailable


class MemoryBroker:
    """A `Broker`."""

    name = "q"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.ledger: Ledger
        self.resume(checkpoint)
        self.queue: list[Message] = []
        """What is not acknowledged."""
        self.connections = 0
        self.error: Exception | None = None
        """Raised by the next call."""
        self.acknowledgement: Exception | None = None
        """Raised by the next acknowledgement."""
        self.limits: list[int] = []
        """Of the calls of `receive`."""

    def resume(self, checkpoint: Checkpoint) -> None:
        self.ledger = RecentIds("queue 'q'", 100, checkpoint)

    def send(self, *places: str, body: bytes = b"1") -> None:
        self.queue += [Message(place, body, deliveries=0) for place in places]

    def fail(self) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    async def probe(self) -> str:
        return f"{len(self.queue)} messages"

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        self.fail()
        yield None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["MemoryConnection"]:
        self.fail()
        self.connections += 1
        yield MemoryConnection(self)


class MemoryConnection:
    """A `Connection`: each delivers every message once."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.delivered: set[str] = set()
        self.number = broker.connections

    async def receive(self, limit: int, max_bytes: int) -> Received:
        self.broker.fail()
        self.broker.limits.append(limit)
        found: list[Message] = []
        for index, message in enumerate(self.broker.queue):
            if message.place not in self.delivered and len(found) < limit:
                self.delivered.add(message.place)
                counted = message._replace(deliveries=message.deliveries + 1, token=self.number)
                self.broker.queue[index] = counted
                found.append(counted)
        return Received(found, more=any(message.place not in self.delivered for message in self.broker.queue))

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        self.broker.fail()
        if self.broker.acknowledgement is not None:
            error, self.broker.acknowledgement = self.broker.acknowledgement, None
            raise error
        if any(message.token != self.number for message in messages):
            raise Unavailable("a delivery of another connection")
        places = {message.place for message in messages}
        self.broker.queue = [message for message in self.broker.queue if message.place not in places]

    async def wait(self) -> None:
        await asyncio.Event().wait()
