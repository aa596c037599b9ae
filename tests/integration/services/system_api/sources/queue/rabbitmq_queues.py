"""Queues and streams of RabbitMQ: fixtures for the modules that import them, and what declares and fills them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from services.system_api.sources.queue.rabbitmq.opening import RabbitmqSourceKind
from tests.integration.services.system_api.sources.queue.reading import Reading
from tests.servers.rabbitmq import RabbitmqServer


@pytest.fixture
async def channel(rabbitmq: RabbitmqServer) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(rabbitmq.url) as connection, connection.channel() as channel:
        yield channel


@pytest.fixture
def reading(rabbitmq: RabbitmqServer, unique_name: str) -> Callable[..., Reading]:
    def make(**settings: Any) -> Reading:
        target = {} if "stream" in settings else {"queue": unique_name}
        given = {"kind": "rabbitmq", "url": rabbitmq.url, "type": "t", **target, **settings}
        return Reading(RabbitmqSourceKind.model_validate(given))

    return make


async def declare(channel: AbstractChannel, name: str, kind: str, **more: Any) -> None:
    arguments = {"x-queue-type": kind, **more.pop("arguments", {})}
    await channel.declare_queue(name, durable=more.pop("durable", True), arguments=arguments, **more)


async def send(channel: AbstractChannel, name: str, *bodies: bytes, **properties: Any) -> None:
    for body in bodies:
        message = aio_pika.Message(body, **({"message_id": f"id-{body[:20].decode()}"} | properties))
        await channel.default_exchange.publish(message, name)


@asynccontextmanager
async def stream(channel: AbstractChannel, name: str) -> AsyncIterator[None]:
    await declare(channel, name, "stream")
    yield
    await channel.queue_delete(name)
