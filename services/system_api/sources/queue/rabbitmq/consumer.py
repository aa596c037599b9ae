"""A consumer of RabbitMQ that keeps what is delivered within a bound in bytes.

The broker pushes as many messages as the consumer's prefetch allows, whatever their size. So the prefetch follows the
mean size of messages. When large messages follow small ones, more bytes come than there is room for: the consumer then
drops what comes, without an acknowledgement, and a new channel with a smaller prefetch gets it again.

A consumer is never cancelled: what a quorum queue delivers after the cancellation, aio-pika would drop unnoticed.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

from services.system_api.sources.queue.rabbitmq.client import (
    AbstractChannel,
    DeliveredMessage,
    lost,
    rabbitmq_errors,
    watch,
)
from services.system_api.sources.queue.rabbitmq.options import RabbitmqSourceOptions
from shared.errors import Unavailable

_OVERFLOW = 2
"""How many times the bound in bytes may be buffered."""
_WEIGHT = 1 / 16
"""Weight of one message in the mean size of messages."""
_GROWTH = 4
"""How many times higher the prefetch should be before a new channel is worth its requests."""


class Sizes:
    """The mean size of recent messages of a queue; it outlives a connection."""

    def __init__(self, options: RabbitmqSourceOptions) -> None:
        self._options = options
        self.mean = 1.0
        """In bytes."""

    @property
    def prefetch(self) -> int:
        """The prefetch that suits it."""
        return max(1, min(self._options.prefetch, int(self._options.prefetch_bytes / self.mean)))

    def note(self, size: int) -> None:
        """Note a message of this size."""
        self.mean = max(1.0, self.mean + (size - self.mean) * _WEIGHT)


class Consumer:
    """The messages that one channel has delivered and that were not taken yet, in order."""

    def __init__(self, channel: AbstractChannel, options: RabbitmqSourceOptions, sizes: Sizes) -> None:
        self._channel = channel
        self._options = options
        self._sizes = sizes
        self._waiting: deque[DeliveredMessage] = deque()
        self._size = 0
        self._arrived = asyncio.Event()
        self._prefetch = 0
        self._newest_tag = 0
        self._overflowed = False
        self._problem: str | None = None
        watch(channel, self._arrived.set, self._cancelled_by_broker)

    @property
    def waiting(self) -> bool:
        """Whether messages can be taken."""
        return bool(self._waiting)

    @property
    def subscribed(self) -> bool:
        """Whether it gets messages."""
        return self._prefetch > 0

    @property
    def outgrown(self) -> bool:
        """Whether nothing more can be taken, and a new channel would deliver more."""
        if self._waiting or not self.subscribed:
            return False
        return self._overflowed or self._sizes.prefetch > _GROWTH * self._prefetch

    async def subscribe(self, arguments: dict[str, Any] | None = None, *, keep_all: bool = False) -> None:
        """Get messages from now on; with `keep_all`, whatever their size.

        Raises:
            Unavailable: the broker does not answer.
        """
        self.check()
        self._prefetch = self._options.prefetch if keep_all else self._sizes.prefetch
        with rabbitmq_errors(self._options):
            async with asyncio.timeout(self._options.connect_timeout):
                await self._channel.basic_qos(prefetch_count=self._prefetch)
                await self._channel.basic_consume(
                    self._options.target,
                    self._keep if keep_all else self._delivered,
                    exclusive=self._options.queue is not None and self._options.exclusive,
                    arguments=arguments or {},
                )

    def take(self, limit: int, max_bytes: int) -> list[DeliveredMessage]:
        """Return what was delivered: at most `limit` messages, and about `max_bytes`."""
        taken: list[DeliveredMessage] = []
        size = 0
        while self._waiting and len(taken) < limit and (not taken or size + len(self._waiting[0].body) <= max_bytes):
            message = self._waiting.popleft()
            size += len(message.body)
            taken.append(message)
        self._size -= size
        if not self._waiting and not self._overflowed:
            self._arrived.clear()
        return taken

    async def wait(self, timeout: float | None = None) -> None:
        """Return when there is something to do, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._arrived.wait()

    def check(self) -> None:
        """Raise `Unavailable` if nothing will be delivered any more."""
        if self._problem is not None:
            self._arrived.set()
            raise Unavailable(f"{self._options.in_words}: {self._problem}")
        if self._channel.is_closed:
            self._arrived.set()
            raise lost(self._channel, self._options)

    async def _delivered(self, message: DeliveredMessage) -> None:
        size = len(message.body)
        self._sizes.note(size)
        if not self._overflowed and self._waiting and self._size + size > _OVERFLOW * self._options.prefetch_bytes:
            self._overflowed = True
            self._sizes.mean = max(self._sizes.mean, self._size / len(self._waiting), size)
        if not self._overflowed:
            await self._keep(message)

    async def _keep(self, message: DeliveredMessage) -> None:
        tag = message.delivery_tag or 0
        if self._newest_tag and tag != self._newest_tag + 1:
            # An acknowledgement of a later message would cover it.
            self._problem = f"delivery {self._newest_tag + 1} is missing before {tag}"
        self._newest_tag = tag
        self._waiting.append(message)
        self._size += len(message.body)
        self._arrived.set()

    def _cancelled_by_broker(self) -> None:
        self._problem = "RabbitMQ cancelled the consumer: the queue was deleted or moved"
        self._arrived.set()
