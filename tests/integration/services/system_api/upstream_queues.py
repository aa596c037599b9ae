"""Queues and topics of real brokers for crash tests: settings, a writer, and the promise of each."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import aio_pika
import aiomqtt
import nats as nats_client
import pytest
from nats.js.api import StreamConfig
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from redis.asyncio import Redis

from services.system_api.sources.queue.mqtt.opening import MqttSourceKind
from shared.bus.kafka import KafkaOptions
from shared.bus.kafka.bus import connect_kafka
from shared.bus.protocol import Outgoing, TopicOptions
from tests.contracts.source.test_sqs import KEYS, sqs_client

_SQS_BATCH = 10
_COUNTS = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]


async def _none() -> int:
    return 0


@dataclass
class UpstreamQueue:
    """One queue, stream or topic."""

    settings: dict[str, Any]
    """Of its source."""
    write: Callable[[list[str]], Awaitable[None]]
    """Writes a message for each id, and returns once the broker has them."""
    ordered: bool = True
    """Whether its order is kept over a crash."""
    once: bool = True
    """Whether each message is published once; otherwise repeats have the event id of the first."""
    left: Callable[[], Awaitable[int]] = _none
    """Returns how many messages the broker may deliver, or deliver again; 0 where it does that in their order."""


OpenQueue = Callable[[pytest.FixtureRequest, str], AbstractAsyncContextManager[UpstreamQueue]]


def message(identity: str) -> str:
    """Return the body of a message."""
    return json.dumps({"id": identity})


@contextlib.asynccontextmanager
async def redis_stream(request: pytest.FixtureRequest, name: str) -> AsyncIterator[UpstreamQueue]:
    url = request.getfixturevalue("redis").url
    async with Redis.from_url(url) as client:

        async def write(ids: list[str]) -> None:
            pipeline: Any
            async with client.pipeline(transaction=False) as pipeline:
                for each in ids:
                    pipeline.xadd(name, {"id": each})
                await pipeline.execute()

        await client.xgroup_create(name, "owner", mkstream=True)
        yield UpstreamQueue({"kind": "redis", "url": url, "stream": name}, write)


@contextlib.asynccontextmanager
async def kafka_topic(request: pytest.FixtureRequest, name: str) -> AsyncIterator[UpstreamQueue]:
    servers = request.getfixturevalue("kafka").bootstrap
    async with connect_kafka(KafkaOptions(servers=servers)) as bus, bus.appender() as appender:
        await bus.ensure_topics([TopicOptions(name=name, partitions=1)])

        async def write(ids: list[str]) -> None:
            await appender.append(name, [Outgoing(b"k", message(each).encode()) for each in ids])

        yield UpstreamQueue({"kind": "kafka", "servers": servers, "topics": [name]}, write)


@contextlib.asynccontextmanager
async def nats_stream(request: pytest.FixtureRequest, name: str) -> AsyncIterator[UpstreamQueue]:
    url = request.getfixturevalue("nats").url
    connection = await nats_client.connect(url)
    try:
        jetstream = connection.jetstream()
        await jetstream.add_stream(StreamConfig(name=name, subjects=[f"{name}.>"]))

        async def write(ids: list[str]) -> None:
            for each in ids:
                await jetstream.publish(f"{name}.numbers", message(each).encode())

        yield UpstreamQueue({"kind": "nats", "url": url, "stream": name}, write)
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def _rabbitmq(
    request: pytest.FixtureRequest, name: str, kind: str, *, identified: bool = True
) -> AsyncIterator[UpstreamQueue]:
    url = request.getfixturevalue("rabbitmq").url
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.declare_queue(name, durable=True, arguments={"x-queue-type": kind})

        async def write(ids: list[str]) -> None:
            for each in ids:
                sent = aio_pika.Message(message(each).encode(), message_id=each if identified else None)
                await channel.default_exchange.publish(sent, name)

        target = {"stream" if kind == "stream" else "queue": name}
        settings = {"kind": "rabbitmq", "url": url, **target}
        yield UpstreamQueue(settings, write, ordered=kind == "stream", once=identified)


def rabbitmq_stream(request: pytest.FixtureRequest, name: str) -> AbstractAsyncContextManager[UpstreamQueue]:
    """Return a stream of RabbitMQ."""
    return _rabbitmq(request, name, "stream")


def rabbitmq_queue(request: pytest.FixtureRequest, name: str) -> AbstractAsyncContextManager[UpstreamQueue]:
    """Return a quorum queue whose messages have ids."""
    return _rabbitmq(request, name, "quorum")


def rabbitmq_queue_without_ids(request: pytest.FixtureRequest, name: str) -> AbstractAsyncContextManager[UpstreamQueue]:
    """Return a quorum queue whose messages have no ids."""
    return _rabbitmq(request, name, "quorum", identified=False)


@contextlib.asynccontextmanager
async def sqs_queue(request: pytest.FixtureRequest, name: str, **settings: Any) -> AsyncIterator[UpstreamQueue]:
    """Open a standard queue; what a killed process held is delivered again after 4 s."""
    server = request.getfixturevalue("sqs")
    async with sqs_client(server) as client:
        created = await client.create_queue(QueueName=name)

        async def write(ids: list[str]) -> None:
            for start in range(0, len(ids), _SQS_BATCH):
                batch = ids[start : start + _SQS_BATCH]
                entries = [{"Id": each, "MessageBody": message(each)} for each in batch]
                answer = await client.send_message_batch(QueueUrl=created["QueueUrl"], Entries=entries)
                assert not answer.get("Failed")

        async def left() -> int:
            found = await client.get_queue_attributes(QueueUrl=created["QueueUrl"], AttributeNames=_COUNTS)
            return sum(int(found["Attributes"][name]) for name in _COUNTS)

        known = {
            "kind": "sqs",
            "url": f"{server.url}/{created['QueueUrl'].partition('//')[2].partition('/')[2]}",
            "region": "eu-central-1",
            "network": {"allow": ["127.0.0.1"]},
            "visibility_timeout": 4,
            "prefetch": 100,
            "long_poll": 1,
            **KEYS,
        }
        yield UpstreamQueue(known | settings, write, ordered=False, left=left)
        await client.delete_queue(QueueUrl=created["QueueUrl"])


@contextlib.asynccontextmanager
async def sqs_queue_without_window(request: pytest.FixtureRequest, name: str) -> AsyncIterator[UpstreamQueue]:
    """Open a standard queue whose source remembers no ids."""
    async with sqs_queue(request, name, dedupe_window=0) as queue:
        queue.once = False
        yield queue


@contextlib.asynccontextmanager
async def _mqtt(request: pytest.FixtureRequest, name: str, *, identified: bool) -> AsyncIterator[UpstreamQueue]:
    server = request.getfixturevalue("mosquitto")
    settings: dict[str, Any] = {"kind": "mqtt", "url": server.url, "topics": [f"{name}/#"], "client_id": name}
    if identified:
        settings["message_id"] = "id"
    options = MqttSourceKind.model_validate({**settings, "type": "t"})
    # The broker keeps messages for sessions that it knows.
    async with options.broker_class()("numbers", options, {}).connected():
        pass
    version = aiomqtt.ProtocolVersion.V5
    async with aiomqtt.Client("127.0.0.1", server.port, protocol=version) as client:

        async def write(ids: list[str]) -> None:
            for each in ids:
                properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # published without types
                properties.UserProperty = ("id", each)
                await client.publish(f"{name}/numbers", message(each), qos=1, properties=properties)

        yield UpstreamQueue(settings, write, once=identified)


def mqtt_topics(request: pytest.FixtureRequest, name: str) -> AbstractAsyncContextManager[UpstreamQueue]:
    """Return topics whose messages have ids."""
    return _mqtt(request, name, identified=True)


def mqtt_topics_without_ids(request: pytest.FixtureRequest, name: str) -> AbstractAsyncContextManager[UpstreamQueue]:
    """Return topics whose source looks at no ids."""
    return _mqtt(request, name, identified=False)
