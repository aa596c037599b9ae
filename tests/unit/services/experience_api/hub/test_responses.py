import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from services.experience_api.hub.close_codes import LEFT, LOST, REMOVED
from services.experience_api.hub.heartbeat import Progress
from services.experience_api.hub.responses import BatchOutbox, Latest, ResponseConnection, StreamOutbox
from services.experience_api.wire.frames import PING, event_frame, text_frame
from tests.unit.services.experience_api.hub.connections import Inner, subscriber
from tests.unit.services.experience_api.hub.transports import FakeTransport

EVENT = event_frame(b'{"id":"1"}', b"AaB")
CONNECTED = text_frame(b'{"id":"0","cursor":"AaA"}')


class Connection(ResponseConnection):
    """A connection whose peer acknowledges what the test says."""

    found = Progress(0, 0)

    def progress(self) -> Progress:
        return self.found


def connection(transport: FakeTransport, probe: Callable[[], Awaitable[None]] | None = None) -> Connection:
    outbox = StreamOutbox(transport, 100_000, Latest())
    inner, asyncio_transport = Inner(), cast("asyncio.Transport", transport)
    return Connection(subscriber(), outbox, asyncio_transport, inner, lambda _: None, probe=probe)


async def _nothing() -> None:
    pass


def test_an_event_stream_is_written_in_chunks() -> None:
    transport, latest = FakeTransport(), Latest()
    outboxes = [StreamOutbox(transport, 100_000, latest) for _ in range(2)]
    for outbox in outboxes:
        assert outbox.offer(EVENT)
        outbox.force(PING)
    stream = b'29\r\nid: AaB\ndata: {"cursor":"AaB","id":"1"}\n\n\r\n3\r\n:\n\n\r\n'
    assert transport.sent == stream * 2


def test_what_exceeds_the_limit_is_not_accepted() -> None:
    transport = FakeTransport(room=0)
    outbox = StreamOutbox(transport, 100, Latest())
    assert outbox.offer(EVENT)
    assert not outbox.offer(EVENT * 3)


def test_a_batch_is_complete_with_the_first_events_after_the_first_frame() -> None:
    completed: list[int] = []
    outbox = BatchOutbox(FakeTransport(), 100_000, lambda: completed.append(1), waits=True)
    outbox.force(CONNECTED)
    assert (outbox.events, outbox.cursor, completed) == ([], b"AaA", [])
    outbox.offer(PING)
    outbox.offer(EVENT + EVENT)
    outbox.offer(event_frame(b'{"id":"2"}', b"AaC"))
    assert (len(outbox.events), outbox.cursor, completed) == (2, b"AaB", [1])


def test_what_does_not_complete_a_batch_comes_with_what_does() -> None:
    completed: list[int] = []
    outbox = BatchOutbox(
        FakeTransport(), 100_000, lambda: completed.append(1), waits=True, completes=lambda message: b'"2"' in message
    )
    outbox.force(CONNECTED)
    outbox.offer(EVENT)
    outbox.offer(PING)
    assert (len(outbox.events), outbox.cursor, completed) == (1, b"AaB", [])
    outbox.offer(event_frame(b'{"id":"2"}', b"AaC") + event_frame(b'{"id":"3"}', b"AaD"))
    assert (len(outbox.events), outbox.cursor, completed) == (3, b"AaD", [1])


def test_no_more_is_held_than_a_response_should_have() -> None:
    completed: list[int] = []
    outbox = BatchOutbox(
        FakeTransport(), 100_000, lambda: completed.append(1), waits=True, completes=lambda _message: False
    )
    outbox.force(CONNECTED)
    large = event_frame(b'{"id":"%b"}' % (b"x" * 40_000), b"AaB")
    outbox.offer(large)
    assert completed == []
    outbox.offer(large)
    assert completed == [1]


def test_without_a_cursor_the_first_frame_completes_a_batch() -> None:
    completed: list[int] = []
    outbox = BatchOutbox(FakeTransport(), 100_000, lambda: completed.append(1), waits=False)
    outbox.force(CONNECTED)
    outbox.offer(EVENT)
    assert (len(outbox.events), outbox.cursor, completed) == (1, b"AaA", [1])


async def test_a_peer_whose_kernel_acknowledges_heartbeats_lives() -> None:
    one = connection(FakeTransport())
    assert one.heartbeat()
    one.found = Progress(0, 30)
    assert one.heartbeat()
    assert not one.heartbeat()


async def test_a_peer_with_a_backlog_may_pause_for_a_heartbeat() -> None:
    one = connection(FakeTransport())
    one.found = Progress(50_000, 30, 20_000)
    assert [one.heartbeat() for _ in range(3)] == [True, True, False]


async def test_a_peer_whose_acknowledgements_are_not_known_counts_as_alive() -> None:
    one = connection(FakeTransport())
    one.found = Progress(0)
    assert one.heartbeat()
    assert await one.responds(0.01)


async def test_a_peer_responds_if_its_kernel_acknowledges() -> None:
    one = connection(FakeTransport())
    assert not await one.responds(0.05)
    asyncio.get_running_loop().call_soon(setattr, one, "found", Progress(0, 5))
    assert await one.responds(10)


@pytest.mark.parametrize("silent", [True, False])
async def test_a_connection_that_ends_does_not_respond(*, silent: bool) -> None:
    one = connection(FakeTransport(), _nothing if silent else None)
    if not silent:
        asyncio.get_running_loop().call_soon(one.end, REMOVED)
        assert not await one.responds(10)
    assert one.heartbeat()
    one.end(LEFT)
    assert not await one.responds(10)
    await one.wait_ended()


async def test_one_that_writes_nothing_until_it_ends_is_probed_by_other_means() -> None:
    transport, probes = FakeTransport(), 0

    async def probe() -> None:
        nonlocal probes
        probes += 1
        if probes == 1:
            one.found = Progress(0, 1)
        elif probes == 3:
            raise ConnectionResetError

    one = connection(transport, probe)
    assert one.heartbeat()
    assert await one.responds(10)
    assert not await one.responds(0.05), "what its kernel does not acknowledge"
    assert not await one.responds(10), "what cannot be written"
    assert one.heartbeat()
    assert transport.sent == b""


async def test_a_loss_ends_it() -> None:
    one = connection(FakeTransport())
    one.connection_lost(None)
    await one.wait_ended()
    assert one.ending is LOST


async def test_bytes_of_the_next_request_go_to_aiohttp() -> None:
    one = connection(FakeTransport())
    one.data_received(b"GET /")
    assert cast("Inner", one._inner).calls == ["data b'GET /'"]
