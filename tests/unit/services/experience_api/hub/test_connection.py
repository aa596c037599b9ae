import asyncio

import pytest

from services.experience_api.hub.close_codes import LEFT, LOST, REMOVED, TOO_SLOW
from services.experience_api.hub.connection import Connection
from services.experience_api.wire.frames import PING
from tests.unit.services.experience_api.hub.connections import Inner, connection
from tests.unit.services.experience_api.hub.transports import FakeTransport


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


def test_aiohttp_is_told_all_that_the_transport_says(transport: FakeTransport) -> None:
    inner = Inner()
    one = connection(transport, inner=inner)
    one.data_received(b"x")
    one.pause_writing()
    one.resume_writing()
    one.eof_received()
    one.connection_lost(OSError("reset"))
    assert inner.heard == ["data b'x'", "pause", "resume", "eof", "lost reset"]


def test_the_hub_hears_of_a_loss_before_aiohttp_does_and_once(transport: FakeTransport) -> None:
    inner = Inner()
    gone: list[list[str]] = []
    one = connection(transport, inner=inner, gone=lambda _connection: gone.append(list(inner.heard)))
    one.connection_lost(None)
    one.end(REMOVED)
    assert gone == [[]]
    assert one.ending is LOST


def test_the_first_reason_counts(transport: FakeTransport) -> None:
    gone: list[Connection] = []
    one = connection(transport, gone=gone.append)
    one.end(TOO_SLOW, wait=2.0)
    one.end(REMOVED)
    assert (one.ending, one.wait) == (TOO_SLOW, 2.0)
    assert gone == [one]


async def test_an_end_interrupts_whoever_waits_for_the_peer(transport: FakeTransport) -> None:
    one = connection(transport)

    async def read() -> None:
        one.wait_begins()
        await asyncio.Event().wait()

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    one.end(REMOVED)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_end_interrupts_nobody_at_work(transport: FakeTransport) -> None:
    one = connection(transport)
    go_on = asyncio.Event()

    async def read() -> None:
        one.wait_begins()
        one.wait_ends()
        await go_on.wait()

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    one.end(REMOVED)
    go_on.set()
    await task


class TestHeartbeat:
    def test_each_beat_pings(self, transport: FakeTransport) -> None:
        one = connection(transport)
        assert one.beat()
        assert transport.sent == PING

    def test_anything_that_comes_is_a_sign_of_life(self, transport: FakeTransport) -> None:
        one = connection(transport)
        for _ in range(3):
            assert one.beat()
            one.data_received(b"\x8a\x00")
        assert one.beat()
        assert not one.beat()

    def test_a_slow_reader_is_alive_and_a_stuck_one_is_not(self, transport: FakeTransport) -> None:
        transport.room = 0
        one = connection(transport)
        one.outbox.offer(b"x" * 1000)
        assert one.beat()
        for _ in range(3):
            transport.peer_reads(100)
            assert one.beat()
        assert not one.beat()

    def test_empty_frames_are_bounded_from_one_beat_to_the_next(self, transport: FakeTransport) -> None:
        one = connection(transport)
        for _ in range(2):
            assert not any(one.chatters() for _ in range(500))
            assert one.chatters()
            one.beat()


class TestAnswers:
    async def test_who_answers_is_there(self, transport: FakeTransport) -> None:
        one = connection(transport)
        asked = [asyncio.create_task(one.answers(10.0)) for _ in range(2)]
        await asyncio.sleep(0)
        assert transport.sent == PING * 2
        one.data_received(b"\x8a\x00")
        assert await asyncio.gather(*asked) == [True, True]

    async def test_who_is_silent_is_not(self, transport: FakeTransport) -> None:
        assert not await connection(transport).answers(0.01)

    async def test_who_is_lost_is_not(self, transport: FakeTransport) -> None:
        one = connection(transport)
        asked = asyncio.create_task(one.answers(10.0))
        await asyncio.sleep(0)
        one.connection_lost(None)
        assert not await asked

    async def test_who_is_being_closed_is_not_and_that_is_known_at_once(self, transport: FakeTransport) -> None:
        one = connection(transport)
        asked = asyncio.create_task(one.answers(10.0))
        await asyncio.sleep(0)
        one.end(LEFT)
        one.data_received(b"\x8a\x00")
        assert not await asked
        async with asyncio.timeout(1):
            assert not await one.answers(60.0)


class TestDrained:
    async def test_one_that_is_not_clogged_has_drained(self, transport: FakeTransport) -> None:
        one = connection(transport)
        await one.drained()
        assert not one.clogged

    async def test_waits_until_the_transport_resumes(self, transport: FakeTransport) -> None:
        one = connection(transport)
        one.pause_writing()
        waiting = [asyncio.create_task(one.drained()) for _ in range(2)]
        waiting[1].cancel()
        await asyncio.wait(waiting, timeout=0.01)
        assert not waiting[0].done()
        one.resume_writing()
        await waiting[0]

    async def test_a_loss_ends_the_wait(self, transport: FakeTransport) -> None:
        one = connection(transport)
        one.pause_writing()
        waiting = asyncio.create_task(one.drained())
        await asyncio.sleep(0)
        one.connection_lost(None)
        await waiting


def test_abort(transport: FakeTransport) -> None:
    connection(transport).abort()
    assert transport.aborted


class TestLost:
    async def test_waits_for_the_end_of_the_transport(self, transport: FakeTransport) -> None:
        one = connection(transport)
        one.end(LEFT)
        waiting = asyncio.create_task(one.lost())
        await asyncio.sleep(0)
        assert not waiting.done()
        one.connection_lost(None)
        await waiting
        await one.lost()

    async def test_who_waits_no_longer_is_no_trouble(self, transport: FakeTransport) -> None:
        one = connection(transport)
        waiting = asyncio.create_task(one.lost())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        one.connection_lost(None)
