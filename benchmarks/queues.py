"""RabbitMQ, Redis, NATS and Kafka to the publish topic, exactly once, compared with minimal loops of their clients.

Measures the CPU time of this process for an event of 1 KB (without that of the servers), and the rate. The system layer
runs completely: the poller with its lease, the source with its checks, and transactions of 1,000 events with the
checkpoint. The bare loop reads with the client library of the broker, prepends a constant head to each message and
writes whole batches in aiokafka's transactions, with two alternating producers and a record that stands for the
checkpoint. It checks nothing. The measurements alternate, and the medians are compared. The log that is read is filled
once.
"""

import argparse
import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import aio_pika
import aiomqtt
import nats
import uvloop
from aiokafka import AIOKafkaConsumer
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig
from redis.asyncio import Redis

from benchmarks.bare import PER_TRANSACTION, BareWriter, bare_cost, bare_record
from benchmarks.measuring import HEADING, Cost, alternate, as_services_run, line
from benchmarks.polling import polled
from services.system_api.sources.queue.kafka.opening import KafkaSourceKind
from services.system_api.sources.queue.mqtt.opening import MqttSourceKind
from services.system_api.sources.queue.nats.opening import NatsSourceKind
from services.system_api.sources.queue.rabbitmq.opening import RabbitmqSourceKind
from services.system_api.sources.queue.redis.opening import RedisSourceKind
from shared.bus.connect import connect
from shared.bus.kafka import KafkaOptions
from shared.bus.protocol import Outgoing, TopicOptions
from shared.database.options import DatabaseOptions
from tests.servers.kafka import kafka_server
from tests.servers.nats import nats_server
from tests.servers.rabbitmq import rabbitmq_server
from tests.servers.redis import redis_server

MQTT_AT_ONCE = 20
"""Messages that the client has without an acknowledgement."""
NAME = "bench"
COMMON: dict[str, Any] = {"type": "order.updated", "channel": "orders.eu", "batch": PER_TRANSACTION, "prefetch": 10_000}

Batches = AsyncIterator[list[bytes]]


def bodies(count: int) -> list[bytes]:
    return [json.dumps({"id": number, "text": "x" * 990}).encode() for number in range(count)]


async def fill_redis(url: str, events: int) -> None:
    async with Redis.from_url(url) as client:
        for start in range(0, events, PER_TRANSACTION):
            pipeline: Any
            async with client.pipeline(transaction=False) as pipeline:
                for body in bodies(events)[start : start + PER_TRANSACTION]:
                    pipeline.xadd(NAME, {"data": body})
                await pipeline.execute()


async def read_redis(url: str, events: int) -> Batches:
    async with Redis.from_url(url) as client:
        last: Any = "0"
        for _ in range(0, events, PER_TRANSACTION):
            found: Any = await client.xread({NAME: last}, count=PER_TRANSACTION)
            [[_, entries]] = found
            last = entries[-1][0]
            yield [fields[b"data"] for _, fields in entries]


async def fill_nats(url: str, events: int) -> None:
    client = await nats.connect(url)
    jetstream = client.jetstream()
    await jetstream.add_stream(StreamConfig(name=NAME, subjects=[NAME]))
    for start in range(0, events, PER_TRANSACTION):
        await asyncio.gather(
            *(jetstream.publish(NAME, body) for body in bodies(events)[start : start + PER_TRANSACTION])
        )
    await client.close()


async def read_nats(url: str, events: int) -> Batches:
    client = await nats.connect(url)
    config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=10_000)
    subscription = await client.jetstream().pull_subscribe("", uuid.uuid4().hex, NAME, config=config)
    left = events
    while left:
        found = await subscription.fetch(min(PER_TRANSACTION, left))
        left -= len(found)
        yield [message.data for message in found]
        for message in found:
            await message.ack()
    await client.close()


async def fill_rabbitmq(url: str, events: int) -> None:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.declare_queue(NAME, durable=True, arguments={"x-queue-type": "stream"})
        for start in range(0, events, PER_TRANSACTION):
            messages = [aio_pika.Message(body) for body in bodies(events)[start : start + PER_TRANSACTION]]
            await asyncio.gather(*(channel.default_exchange.publish(message, NAME) for message in messages))


async def read_rabbitmq(url: str, events: int) -> Batches:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.set_qos(2 * PER_TRANSACTION)
        queue = await channel.get_queue(NAME)
        found: list[bytes] = []
        async with queue.iterator(arguments={"x-stream-offset": "first"}) as messages:
            async for message in messages:
                await message.ack()
                found.append(message.body)
                events -= 1
                if len(found) == PER_TRANSACTION or not events:
                    yield found
                    found = []
                if not events:
                    return


async def fill_mqtt(settings: dict[str, Any], port: int, events: int) -> None:
    """Send messages to a session, which exists before: the broker keeps them for it."""
    options = MqttSourceKind.model_validate(settings | {"type": "t"})
    async with options.broker_class()(NAME, options, {}).connected():
        pass
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        sent = bodies(events)
        for start in range(0, events, MQTT_AT_ONCE):
            await asyncio.gather(*(client.publish(NAME, body, qos=1) for body in sent[start : start + MQTT_AT_ONCE]))


async def fill_kafka(servers: str, events: int) -> None:
    async with connect(KafkaOptions(servers=servers), DatabaseOptions()) as bus:
        await bus.ensure_topics([TopicOptions(name=NAME, partitions=1)])
        async with bus.appender() as appender:
            for start in range(0, events, PER_TRANSACTION):
                records = [Outgoing(b"k", body) for body in bodies(events)[start : start + PER_TRANSACTION]]
                await appender.append(NAME, records)


async def read_kafka(servers: str, events: int) -> Batches:
    consumer = AIOKafkaConsumer(
        NAME, bootstrap_servers=servers, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    async with consumer:
        while events:
            for records in (await consumer.getmany(timeout_ms=1000, max_records=PER_TRANSACTION)).values():
                events -= len(records)
                yield [record.value for record in records]


async def bare(read: Callable[[], Batches], events: int, servers: str) -> Cost:
    async def work(writer: BareWriter) -> None:
        number = 0
        async for batch in read():
            await writer.write([bare_record(b"%d" % at, body) for at, body in enumerate(batch, number + 1)])
            number += len(batch)
        assert number == events

    return await bare_cost(work, events, servers)


async def system_layer(options: Any, events: int, servers: str) -> Cost:
    def opener(name: str, given: Any, clock: Any, rng: Any) -> Any:
        return given.opener(name, clock, rng)

    return await polled(opener, options, events, KafkaOptions(servers=servers), DatabaseOptions())


def settings(name: str, url: str) -> Any:
    match name:
        case "Kafka":
            return KafkaSourceKind.model_validate(COMMON | {"kind": "kafka", "servers": url, "topics": [NAME]})
        case "Redis":  # a group that exists continues where it is
            group = {"group": uuid.uuid4().hex, "field": "data"}
            return RedisSourceKind.model_validate(COMMON | {"kind": "redis", "url": url, "stream": NAME} | group)
        case "NATS":
            return NatsSourceKind.model_validate(COMMON | {"kind": "nats", "url": url, "stream": NAME})
        case _:
            return RabbitmqSourceKind.model_validate(COMMON | {"kind": "rabbitmq", "url": url, "stream": NAME})


async def measure_source(name: str, url: str, events: int, servers: str) -> Cost:
    return await system_layer(settings(name, url), events, servers)


async def run(events: int, rounds: int, kafka: str, redis: str, jetstream: str, rabbitmq: str) -> None:
    as_services_run()
    print(f"{events:,} messages of 1 KB to the publish topic, {PER_TRANSACTION} a transaction, {rounds} rounds")
    print(HEADING)
    kinds: dict[str, tuple[Any, Any, str]] = {
        "Kafka": (fill_kafka, read_kafka, kafka),
        "Redis": (fill_redis, read_redis, redis),
        "NATS": (fill_nats, read_nats, jetstream),
        "RabbitMQ": (fill_rabbitmq, read_rabbitmq, rabbitmq),
    }
    for name, (fill, read, url) in kinds.items():
        await fill(url, events)
        limit, cost = await alternate(
            rounds,
            partial(bare, partial(read, url, events), events, kafka),
            partial(measure_source, name, url, events, kafka),
        )
        print(line(f"{name}, bare client", limit, limit))
        print(line(f"{name}, system layer", cost, limit), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="messages in each log (20000)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        kafka = stack.enter_context(kafka_server(quick_start=False)).bootstrap
        redis = stack.enter_context(redis_server()).url
        jetstream = stack.enter_context(nats_server()).url
        rabbitmq = stack.enter_context(rabbitmq_server()).url
        uvloop.run(run(arguments.events, arguments.rounds, kafka, redis, jetstream, rabbitmq))


if __name__ == "__main__":
    main()
