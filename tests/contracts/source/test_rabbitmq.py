"""Queues and streams of RabbitMQ, on a real broker."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aio_pika
import pytest

from services.system_api.sources.queue.rabbitmq.opening import RabbitmqSourceKind
from tests.contracts.source.suite import SourceContract
from tests.contracts.source.upstream import COMMON, line, record
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import RabbitmqServer


class RabbitmqUpstream:
    def __init__(self, proxy: Proxy, channel: aio_pika.abc.AbstractChannel, name: str, kind: str) -> None:
        self.exactly_once = kind == "stream"
        self.channel = channel
        self.name = name
        self.kind = kind
        self.outage = proxy.outage
        self.slow = proxy.slow
        self.settings: dict[str, Any] = {"url": f"amqp://guest:guest@127.0.0.1:{proxy.port}/"}

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, server: RabbitmqServer, name: str, kind: str) -> AsyncIterator["RabbitmqUpstream"]:
        async with (
            Proxy.before("127.0.0.1", server.port) as proxy,
            await aio_pika.connect(server.url) as connection,
            connection.channel() as channel,
        ):
            upstream = cls(proxy, channel, name, kind)
            await upstream.declare()
            yield upstream
            await channel.queue_delete(name)

    async def declare(self) -> None:
        await self.channel.declare_queue(self.name, durable=True, arguments={"x-queue-type": self.kind})

    def options(self) -> RabbitmqSourceKind:
        target = {"stream" if self.kind == "stream" else "queue": self.name}
        return RabbitmqSourceKind.model_validate(
            {**COMMON, "kind": "rabbitmq", **target, **self.settings, "subject": {"header": "k"}}
        )

    async def write(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            headers: dict[str, Any] = {"k": record(number)["k"]}
            await self.publish(line(number), message_id=f"id-{number}", headers=headers)

    async def write_poison(self) -> None:
        await self.publish(b"{no json", message_id="poison")

    async def publish(self, body: bytes, **properties: Any) -> None:
        await self.channel.default_exchange.publish(aio_pika.Message(body, **properties), self.name)


class TestRabbitmq(SourceContract):
    @pytest.fixture(params=["quorum", "classic", "stream"])
    async def upstream(
        self, request: pytest.FixtureRequest, rabbitmq: RabbitmqServer, unique_name: str
    ) -> AsyncIterator[RabbitmqUpstream]:
        async with RabbitmqUpstream.opened(rabbitmq, unique_name, request.param) as upstream:
            yield upstream
