"""What is special about RabbitMQ: counts of deliveries, and queues that lose messages.

The contract suite of sources tests the rest (tests/contracts/source/test_rabbitmq.py).
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from aio_pika.abc import AbstractChannel

from services.system_api.sources.queue.rabbitmq.client import RabbitmqClient
from services.system_api.sources.queue.rabbitmq.opening import RabbitmqSourceKind
from services.system_api.sources.queue.rabbitmq.queue import RabbitmqQueue
from services.system_api.sources.source import Batch
from shared.errors import SettingsError, Unauthorized, Unavailable
from tests.integration.services.system_api.sources.queue.rabbitmq_queues import channel, declare, reading, send, stream
from tests.integration.services.system_api.sources.queue.reading import Reading
from tests.servers.rabbitmq import RabbitmqServer

__all__ = ["channel", "reading"]


async def nothing(message: object) -> None:
    """Take a message and do nothing with it."""


async def test_a_queue_that_does_not_exist_is_said(reading: Callable[..., Reading], unique_name: str) -> None:
    with pytest.raises(Unavailable, match=f"queue '{unique_name}' does not exist in virtual host '/'; its owner"):
        await reading().once()


async def test_wrong_credentials_are_said(reading: Callable[..., Reading], rabbitmq: RabbitmqServer) -> None:
    with pytest.raises(Unauthorized, match=r"refuses user 'guest': .*set `url` and `password`"):
        await reading(url=rabbitmq.url.replace("guest:guest", "guest:wrong")).once()
    with pytest.raises(Unavailable, match="cannot open virtual host 'nowhere'"):
        await reading(url=f"{rabbitmq.url}nowhere").once()


async def test_a_server_without_tls_is_said(reading: Callable[..., Reading], rabbitmq: RabbitmqServer) -> None:
    with pytest.raises(Unavailable, match=rf"RabbitMQ at 127.0.0.1:{rabbitmq.port}: "):
        await reading(url=rabbitmq.url.replace("amqp://", "amqps://")).once()


@pytest.mark.parametrize(
    ("declared", "fault"),
    [
        ({"kind": "classic", "durable": False}, "not_durable"),
        ({"kind": "classic", "auto_delete": True}, "auto_delete"),
        ({"kind": "classic", "arguments": {"x-message-ttl": 60_000, "x-expires": 600_000}}, "expires, message_ttl"),
        ({"kind": "quorum", "arguments": {"x-delivery-limit": 3, "x-max-length": 5}}, "max_length, delivery_limit"),
    ],
)
async def test_a_queue_that_loses_messages_is_refused(
    channel: AbstractChannel, reading: Callable[..., Reading], unique_name: str, declared: dict[str, Any], fault: str
) -> None:
    await declare(channel, unique_name, **declared)
    with pytest.raises(SettingsError, match=rf"system.sources.s.queue: .* accept: \[{fault}\]"):
        await reading().once()
    with pytest.raises(SettingsError, match=r"system.sources.s.queue: "):
        await reading().options.probe("s")
    await send(channel, unique_name, b"1")
    assert await reading(accept=fault.split(", ")).once() == [1]


async def test_a_probe_takes_nothing(
    channel: AbstractChannel, reading: Callable[..., Reading], unique_name: str
) -> None:
    with pytest.raises(Unavailable, match="does not exist"):
        await reading().options.probe("s")
    await declare(channel, unique_name, "quorum")
    await send(channel, unique_name, b"1")
    async with reading().opened():
        assert f"quorum queue '{unique_name}' at " in await reading().options.probe("s")
    assert f"stream queue '{unique_name}s" in await probed_stream(channel, reading, f"{unique_name}s")


async def probed_stream(channel: AbstractChannel, reading: Callable[..., Reading], name: str) -> str:
    async with stream(channel, name):
        return str(await reading(stream=name).options.probe("s"))


async def test_another_consumer_is_said(
    channel: AbstractChannel, reading: Callable[..., Reading], unique_name: str
) -> None:
    await declare(channel, unique_name, "quorum")
    queue = await channel.get_queue(unique_name)
    tag = await queue.consume(nothing)
    with pytest.raises(Unavailable, match=r"found another consumer .* set `exclusive: false`"):
        await reading().once()
    await reading(exclusive=False).once()
    await queue.cancel(tag)
    await reading().once()


async def test_what_a_delivery_limit_drops_is_reported(
    channel: AbstractChannel, reading: Callable[..., Reading], unique_name: str
) -> None:
    """As while the bus takes no transaction: what is delivered comes again with the next run."""
    await declare(channel, unique_name, "quorum", arguments={"x-delivery-limit": 2})
    await send(channel, unique_name, b"1")
    read = reading(accept=["delivery_limit"])
    for _ in range(3):
        async with read.opened() as source, asyncio.timeout(60):
            while not (await source.poll(1)).records:
                pass
    assert await read.once() == []
    assert [loss.text.rpartition("; ")[2] for loss in read.losses] == ["the broker drops it"]
    assert "0 messages" in await read.options.probe("s")
    async with RabbitmqClient.connected(read.options, "s") as client:
        assert client.major_version >= 3


async def test_a_message_that_kills_its_process_is_parked_and_no_other(
    channel: AbstractChannel, reading: Callable[..., Reading], unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await declare(channel, unique_name, "quorum")
    await send(channel, unique_name, b"1", b"2", b"3", b"4", b"5")
    read = reading(max_deliveries=4)
    await read.until_parked(b"4", 4, monkeypatch)
    assert read.redelivered >= 1
    assert sorted(read.numbers) == [1, 2, 3, 5]


async def test_messages_are_prefetched_within_the_bound_in_bytes(
    channel: AbstractChannel, reading: Callable[..., Reading], unique_name: str, rabbitmq: RabbitmqServer
) -> None:
    """Large messages follow small ones, for which the prefetch was high."""
    await declare(channel, unique_name, "quorum")
    large = b'"%s"' % (b"x" * 50_000)
    options = RabbitmqSourceKind.model_validate(
        {"kind": "rabbitmq", "url": rabbitmq.url, "queue": unique_name, "type": "t", "prefetch_bytes": 200_000}
    )
    broker = RabbitmqQueue("s", options, {})
    async with broker.connected() as connection:
        await send(channel, unique_name, *(b"%d" % number for number in range(20)))
        found: list[bytes] = []
        while len(found) < 20:
            received = await connection.receive(100 if found else 1, 200_000)
            found += [message.body for message in received.messages]
            if received.messages:
                await connection.acknowledge(received.messages)
        await send(channel, unique_name, *(large[:-1] + b'%02d"' % number for number in range(40)))
        bodies: list[bytes] = []
        overflowed = False
        while len(bodies) < 40:
            await asyncio.wait_for(connection.wait(), 60)
            await asyncio.sleep(0.02)
            overflowed = overflowed or connection._consumer._overflowed
            assert connection._consumer._size <= 2 * 200_000 + len(large) + 2, "what there is no room for is dropped"
            received = await connection.receive(100, 200_000)
            assert sum(len(message.body) for message in received.messages) <= 200_000 + len(large)
            bodies += [message.body for message in received.messages]
            if received.messages:
                await connection.acknowledge(received.messages)
    assert overflowed
    assert bodies == [large[:-1] + b'%02d"' % number for number in range(40)], "in order, each once"


async def test_a_message_above_the_limit_does_not_block(
    channel: AbstractChannel, reading: Callable[..., Reading], unique_name: str
) -> None:
    await declare(channel, unique_name, "classic")
    read = reading(message_limit=100_000)
    await send(channel, unique_name, b"1", b'"%s"' % (b"x" * 200_000), b"3")
    while len(read.numbers) < 2:
        await read.once()
    assert read.numbers == [1, 3]
    assert [len(reject.value) for reject in read.rejects] == [65_536]


async def test_a_repeat_of_a_sender_is_dropped_and_equal_messages_without_id_are_not(
    channel: AbstractChannel, reading: Callable[..., Reading], unique_name: str
) -> None:
    await declare(channel, unique_name, "classic")
    read = reading()
    await send(channel, unique_name, b"1", b"1", message_id="same")
    await send(channel, unique_name, b"2", b"2", message_id=None)
    while len(read.numbers) < 3:
        await read.once()
    assert read.numbers == [1, 2, 2]


async def test_a_queue_that_is_deleted_while_it_is_read(
    channel: AbstractChannel, reading: Callable[..., Reading], unique_name: str
) -> None:
    await declare(channel, unique_name, "classic")
    async with reading().opened() as source:
        while not isinstance(await source.poll(10), Batch) or source._again:
            await asyncio.sleep(0)
        await channel.queue_delete(unique_name)
        await asyncio.wait_for(source.wait_for_change(), 60)
        with pytest.raises(Unavailable, match="the queue was deleted"):
            await source.poll(10)
        with pytest.raises(Unavailable, match="does not exist"):
            await source.poll(10)


def test_the_tls_context_is_made_of_the_settings() -> None:
    options = RabbitmqSourceKind.model_validate({"kind": "rabbitmq", "url": "amqps://h", "queue": "q", "type": "t"})
    assert isinstance(options.tls_context(), ssl.SSLContext)
