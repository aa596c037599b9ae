import asyncio

import pytest

from services.experience_api.hub.audience import Interest
from services.experience_api.hub.close_codes import LEFT, LOST, REMOVED, TOO_SLOW
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.heartbeat import Position
from services.experience_api.wire.frames import PING
from tests.unit.services.experience_api.hub.connections import Inner, connection
from tests.unit.services.experience_api.hub.transports import FakeTransport
from tests.unit.services.experience_api.wire.masked import masked

PONG = b"\x8a\x80\0\0\0\0"
ANSWER = masked(0x81, b'{"type":"trelay.heartbeat"}')


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


def test_every_callback_of_the_transport_is_forwarded_to_aiohttp(transport: FakeTransport) -> None:
    inner = Inner()
    one = connection(transport, inner=inner)
    one.data_received(PONG)
    one.pause_writing()
    one.resume_writing()
    one.eof_received()
    one.connection_lost(OSError("reset"))
    assert inner.calls == [f"data {PONG!r}", "pause", "resume", "eof", "lost reset"]


def test_a_loss_is_reported_once_to_the_hub_before_aiohttp(transport: FakeTransport) -> None:
    inner = Inner()
    detached: list[list[str]] = []
    one = connection(transport, inner=inner, on_detach=lambda _connection: detached.append(list(inner.calls)))
    one.connection_lost(None)
    one.end(REMOVED)
    assert detached == [[]]
    assert one.ending is LOST


def test_the_first_reason_counts(transport: FakeTransport) -> None:
    detached: list[Connection] = []
    one = connection(transport, on_detach=detached.append)
    one.end(TOO_SLOW, wait=2.0)
    one.end(REMOVED)
    assert (one.ending, one.wait) == (TOO_SLOW, 2.0)
    assert detached == [one]


async def test_an_end_cancels_a_task_that_waits_for_the_peer(transport: FakeTransport) -> None:
    one = connection(transport)

    async def read() -> None:
        one.begin_wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    one.end(REMOVED)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_end_does_not_cancel_a_task_that_does_not_wait(transport: FakeTransport) -> None:
    one = connection(transport)
    proceed = asyncio.Event()

    async def read() -> None:
        one.begin_wait()
        one.end_wait()
        await proceed.wait()

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    one.end(REMOVED)
    proceed.set()
    await task


class TestHeartbeat:
    def test_each_heartbeat_sends_a_ping(self, transport: FakeTransport) -> None:
        one = connection(transport)
        assert one.heartbeat()
        assert transport.sent == PING

    def test_anything_received_counts_as_alive(self, transport: FakeTransport) -> None:
        one = connection(transport)
        for _ in range(3):
            assert one.heartbeat()
            one.data_received(b"\x8a\x80\0\0\0\0")
        assert one.heartbeat()
        assert not one.heartbeat()

    def test_a_slow_reader_is_alive_and_a_blocked_one_is_not(self, transport: FakeTransport) -> None:
        transport.room = 0
        one = connection(transport)
        one.outbox.offer(b"x" * 1000)
        assert one.heartbeat()
        for _ in range(3):
            transport.peer_reads(100)
            assert one.heartbeat()
        assert not one.heartbeat()

    def test_empty_frames_are_limited_per_heartbeat(self, transport: FakeTransport) -> None:
        one = connection(transport)
        for _ in range(2):
            assert not any(one.count_empty_frame() for _ in range(500))
            assert one.count_empty_frame()
            one.heartbeat()


class TestAnswers:
    """Of a peer that answers heartbeats: something on the path may answer its pings."""

    def test_two_heartbeats_without_an_answer_show_that_it_is_dead(self, transport: FakeTransport) -> None:
        one = connection(transport, answers=True)
        for _ in range(3):
            one.data_received(ANSWER)
            assert one.heartbeat()
        for verdict in (True, False):
            one.data_received(PONG)
            assert one.heartbeat() is verdict

    def test_an_answer_counts_after_one_heartbeat_without(self, transport: FakeTransport) -> None:
        one = connection(transport, answers=True)
        for _ in range(3):
            one.data_received(PONG)
            assert one.heartbeat()
            one.data_received(ANSWER)
            assert one.heartbeat()

    def test_it_is_alive_while_it_reads_a_backlog(self, transport: FakeTransport) -> None:
        transport.room = 0
        one = connection(transport, answers=True)
        one.outbox.offer(b"x" * 10_000)
        assert one.heartbeat()
        for _ in range(4):
            transport.peer_reads(100)
            assert one.heartbeat()
        assert [one.heartbeat() for _ in range(2)] == [True, False]

    async def test_it_responds_with_a_message(self, transport: FakeTransport) -> None:
        one = connection(transport, answers=True)
        one.beat = lambda: b"heartbeat"
        probe = asyncio.create_task(one.responds(10.0))
        await asyncio.sleep(0)
        assert transport.sent == b"heartbeat"
        one.data_received(PONG)
        assert not probe.done()
        one.data_received(ANSWER)
        assert await probe

    async def test_a_pong_is_no_response(self, transport: FakeTransport) -> None:
        one = connection(transport, answers=True)
        probe = asyncio.create_task(one.responds(0.01))
        await asyncio.sleep(0)
        one.data_received(PONG)
        assert not await probe


class TestResponds:
    async def test_a_peer_that_answers_responds(self, transport: FakeTransport) -> None:
        one = connection(transport)
        probes = [asyncio.create_task(one.responds(10.0)) for _ in range(2)]
        await asyncio.sleep(0)
        assert transport.sent == PING * 2
        one.data_received(b"\x8a\x80\0\0\0\0")
        assert await asyncio.gather(*probes) == [True, True]

    async def test_a_silent_peer_does_not_respond(self, transport: FakeTransport) -> None:
        assert not await connection(transport).responds(0.01)

    async def test_a_lost_connection_does_not_respond(self, transport: FakeTransport) -> None:
        one = connection(transport)
        probe = asyncio.create_task(one.responds(10.0))
        await asyncio.sleep(0)
        one.connection_lost(None)
        assert not await probe

    async def test_a_connection_that_is_being_closed_does_not_respond_and_is_not_waited_for(
        self, transport: FakeTransport
    ) -> None:
        one = connection(transport)
        probe = asyncio.create_task(one.responds(10.0))
        await asyncio.sleep(0)
        one.end(LEFT)
        one.data_received(b"\x8a\x80\0\0\0\0")
        assert not await probe
        async with asyncio.timeout(1):
            assert not await one.responds(60.0)


class TestDrained:
    async def test_a_connection_that_is_not_congested_is_drained(self, transport: FakeTransport) -> None:
        one = connection(transport)
        await one.drained()
        assert not one.congested

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


class TestWaitClosed:
    async def test_waits_until_the_transport_is_closed(self, transport: FakeTransport) -> None:
        one = connection(transport)
        one.end(LEFT)
        waiting = asyncio.create_task(one.wait_closed())
        await asyncio.sleep(0)
        assert not waiting.done()
        one.connection_lost(None)
        await waiting
        await one.wait_closed()

    async def test_a_cancelled_wait_is_harmless(self, transport: FakeTransport) -> None:
        one = connection(transport)
        waiting = asyncio.create_task(one.wait_closed())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        one.connection_lost(None)


class TestSlowPeers:
    def test_a_peer_is_dropped_without_what_is_buffered_here(self, transport: FakeTransport) -> None:
        one = connection(transport)
        one.drop()
        assert (transport.closed, transport.aborted) == (True, False)
        transport.room = 0
        one.outbox.offer(b"x")
        one.drop()
        assert transport.aborted

    async def test_a_peer_that_reads_of_its_backlog_responds(self, transport: FakeTransport) -> None:
        transport.room = 0
        one = connection(transport)
        one.outbox.offer(b"x" * 1000)
        before = one.acknowledged()
        probe = asyncio.create_task(one.responds(0.05))
        await asyncio.sleep(0)
        transport.peer_reads(100)
        assert one.acknowledged() > before
        assert await probe
        assert not await one.responds(0.01)

    def test_nothing_is_measured_once_the_transport_is_closed(self, transport: FakeTransport) -> None:
        one = connection(transport)
        transport.room = 0
        one.outbox.offer(b"x")
        one.connection_lost(None)
        assert one.progress().buffered == 0


async def test_a_connection_that_has_ended_forgets_what_refers_to_it_and_changes_no_more(
    transport: FakeTransport,
) -> None:
    one = connection(transport)
    one.position = lambda: Position(b"cursor", 0, live=True)
    one.change = lambda *_: asyncio.get_running_loop().create_future()
    assert not one.subscribe(Interest(["a"]), "requested").done()
    one.end(LOST)
    one.forget()
    assert await one.subscribe(Interest(["a"]), "requested") is None
    assert one.position is None
    assert one.reached is None
