"""Peers that read slowly, on real sockets."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator

import pytest
import uvloop

from services.experience_api.hub.close_codes import NO_PONG, TOO_SLOW
from services.experience_api.hub.progress import measure, stall_timeout
from shared.bus.memory import MemoryBus
from tests.integration.services.experience_api.streams import (
    TIMEOUT,
    TOPIC,
    Stream,
    eventually,
    memory_bus,
    publish,
    raw_socket,
    streaming,
)

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs TCP_INFO")


@pytest.fixture
async def stream() -> AsyncIterator[Stream]:
    async with streaming(await memory_bus(), TOPIC, {"hub": {"heartbeat": {"seconds": 0.4}}}) as stream:
        yield stream


@linux
async def test_a_slow_reader_is_not_ended_while_it_reads_and_answers_no_ping() -> None:
    bus: MemoryBus = await memory_bus()
    options = {"hub": {"heartbeat": {"seconds": 0.4}}, "catch_up": {"drain_timeout": 1}}
    async with streaming(bus, TOPIC, options) as stream:
        peer = await raw_socket(stream, window=262_144)
        with peer:
            await publish(bus, TOPIC, "a", range(100), size=100_000)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(TIMEOUT):
                until = loop.time() + 4
                while loop.time() < until:
                    await loop.sock_recv(peer, 65_536)
                    await asyncio.sleep(0.03)
            assert not stream.endings
            assert await stream.ended() == [TOO_SLOW]


async def test_a_peer_that_reads_nothing_and_has_nothing_to_read_is_ended(stream: Stream) -> None:
    peer = await raw_socket(stream)
    with peer:
        assert await stream.ended() == [NO_PONG]


@linux
async def test_a_measurement_tells_what_the_peer_has_read() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)
        reader.connect(listening.getsockname())
        writer, _ = listening.accept()
        with writer:
            reader.setblocking(False)
            writer.setblocking(False)
            empty = measure(writer, 7)
            assert (empty.buffered, empty.queued) == (7, 0)
            assert empty.acknowledged is not None
            written = writer.send(bytes(5_000_000))
            full = measure(writer, 0)
            assert full.end == empty.acknowledged + written
            assert full.backlog
            async with asyncio.timeout(TIMEOUT):
                for _ in range(50):
                    await loop.sock_recv(reader, 65_536)
                while (now := measure(writer, 0)).acknowledged == full.acknowledged:
                    await asyncio.sleep(0.01)
            assert now.acknowledged is not None
            assert now.acknowledged > (full.acknowledged or 0)
            assert now.end == full.end


def test_without_a_socket_only_the_buffer_is_known() -> None:
    assert measure(None, 5) == (5, None, 0, 0)
    with socket.socket(socket.AF_UNIX) as other:
        assert measure(other, 5).acknowledged is None


async def test_progress_extends_a_stall_timeout_and_its_end_raises() -> None:
    count = 0

    async def progress() -> None:
        nonlocal count
        async with stall_timeout(lambda: count, 0.2):
            for _ in range(10):
                await asyncio.sleep(0.05)
                count += 1
            await eventually(lambda: False)

    began = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await progress()
    assert 0.6 < asyncio.get_running_loop().time() - began < TIMEOUT


async def test_a_stall_timeout_ends_with_its_context() -> None:
    async with stall_timeout(lambda: 0, 0.05):
        pass
    await asyncio.sleep(0.1)
