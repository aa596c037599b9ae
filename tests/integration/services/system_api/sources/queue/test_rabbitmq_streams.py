"""Streams of RabbitMQ that are declared again, and where one is begun."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import pytest
from aio_pika.abc import AbstractChannel

from services.system_api.sources.queue.message import Message, Received
from services.system_api.sources.queue.rabbitmq import stream as stream_module
from services.system_api.sources.queue.rabbitmq.stream import StreamConnection
from shared.errors import Unavailable
from tests.integration.services.system_api.sources.queue.rabbitmq_queues import channel, reading, send, stream
from tests.integration.services.system_api.sources.queue.reading import Reading, fail_once

__all__ = ["channel", "reading"]


async def test_a_stream_that_is_declared_again_is_read_from_its_beginning(
    channel: AbstractChannel, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading(stream=unique_name)
    async with stream(channel, unique_name):
        await send(channel, unique_name, b"1", b"2", b"3")
        await read.until(3)
    with pytest.raises(Unavailable, match="does not exist"):
        await read.once()
    async with stream(channel, unique_name):
        with pytest.raises(Unavailable, match="is empty, and offset 2 of it was published"):
            await read.once()
        await send(channel, unique_name, b"4", b"5", b"6", b"7")
        await read.until(7)
    assert read.numbers == [1, 2, 3, 4, 5, 6, 7]
    assert ["declared again" in loss.text for loss in read.losses] == [True]
    assert len(set(read.ids)) == 7


async def test_a_stream_that_is_declared_again_is_reported_though_the_connection_fails(
    channel: AbstractChannel, reading: Callable[..., Reading], unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next connection finds a stream that it continues to read."""
    read = reading(stream=unique_name)
    async with contextlib.AsyncExitStack() as opened:
        async with stream(channel, unique_name):
            await send(channel, unique_name, b"1")
            source = await opened.enter_async_context(read.opened())
            await read.through(source, 1)
        async with stream(channel, unique_name):
            await send(channel, unique_name, b"2")
            failed = fail_once(monkeypatch, StreamConnection, "_renew")
            await read.through(source, 2)
    assert failed
    assert read.numbers == [1, 2]
    assert ["declared again" in loss.text for loss in read.losses] == [True]


async def test_a_stream_that_is_declared_again_with_the_same_beginning(
    channel: AbstractChannel, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading(stream=unique_name)
    async with stream(channel, unique_name):
        await send(channel, unique_name, b"1", b"2", b"3")
        await read.until(3)
    async with stream(channel, unique_name):
        await send(channel, unique_name, b"1", b"5")
        with pytest.raises(Unavailable, match="does not deliver offset 2"):
            await reading(stream=unique_name, connect_timeout=5).resumed(read).once()
        await send(channel, unique_name, b"6")
        await read.until(6)
    assert read.numbers == [1, 2, 3, 1, 5, 6]
    assert len(read.losses) == 1


async def test_a_batch_that_ends_before_what_was_delivered_is_continued(
    channel: AbstractChannel, reading: Callable[..., Reading], unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that may be harmful gets a batch of its own, and the process may end before that."""
    receive = StreamConnection.receive

    async def together(connection: StreamConnection, limit: int, max_bytes: int) -> Received:
        messages: list[Message] = []
        while len(messages) < 3:
            messages += (await receive(connection, limit, max_bytes)).messages
        return Received(messages)

    read = reading(stream=unique_name)
    async with stream(channel, unique_name):
        await send(channel, unique_name, b"1", b"2", b"3")
        read.saved = {"~attempts": b'{"runs":0,"attempts":{"1":1}}'}
        monkeypatch.setattr(StreamConnection, "receive", together)
        async with read.opened() as source:
            await read.through(source, 1)
        monkeypatch.undo()
        await read.until(3)
    assert (read.numbers, read.losses) == ([1, 2, 3], [])


async def test_a_stream_is_begun_at_its_end_where_that_is_set(
    channel: AbstractChannel, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading(stream=unique_name, start="latest")
    async with stream(channel, unique_name):
        await send(channel, unique_name, b"1", b"2")
        await reading(stream=unique_name).until(2)  # the broker counts what it delivers as part of the stream
        assert await read.once() == []
        await send(channel, unique_name, b"3")
        await read.until(1)
    assert read.numbers == [3]


async def test_a_slow_broker_does_not_make_the_beginning_of_a_stream_its_latest(
    channel: AbstractChannel, reading: Callable[..., Reading], unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = reading(stream=unique_name, start="latest", connect_timeout=5)
    async with stream(channel, unique_name):
        await send(channel, unique_name, b"1", b"2")
        await reading(stream=unique_name).until(2)
        monkeypatch.setattr(stream_module, "_ARRIVAL", 0.0)
        async with read.opened() as source:
            monkeypatch.undo()
            await send(channel, unique_name, b"3")
            await read.through(source, 1)
    assert read.numbers == [3]


@pytest.mark.parametrize("place", ["end", datetime(2100, 1, 1, tzinfo=UTC)])
async def test_a_slow_broker_does_not_make_the_end_of_a_stream_its_beginning(
    channel: AbstractChannel,
    reading: Callable[..., Reading],
    unique_name: str,
    place: Literal["end"] | datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = reading(stream=unique_name, connect_timeout=5)
    async with stream(channel, unique_name):
        await send(channel, unique_name, b"1", b"2")
        await read.until(2)
        async with read.opened() as source:
            monkeypatch.setattr(stream_module, "_ARRIVAL", 0.0)
            read.saved = dict(await source.checkpoint_at(place))
        monkeypatch.undo()
        await send(channel, unique_name, b"3")
        await read.until(3)
    assert read.numbers == [1, 2, 3]
