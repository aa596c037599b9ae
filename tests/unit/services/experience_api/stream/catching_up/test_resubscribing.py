"""Changes of what a connection receives: while it is live, while it catches up, and when it ends before."""

from collections.abc import AsyncIterator

import pytest

from services.experience_api.hub.audience import interest_in
from services.experience_api.hub.close_codes import REMOVED
from services.experience_api.wire.cursor import CursorCodec
from tests.unit.services.experience_api.events import events
from tests.unit.services.experience_api.hub.transports import FakeTransport
from tests.unit.services.experience_api.records import record
from tests.unit.services.experience_api.stream.catching_up.test_rounds import HALF, Live, conflated, turns, value
from tests.unit.services.experience_api.stream.test_broadcast import Parts, texts

CODEC = CursorCodec("epoch", 1)


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    parts = Parts()
    async with parts.catch_up:
        yield parts


async def test_a_live_connection_changes_between_two_batches(parts: Parts) -> None:
    transport = FakeTransport()
    one = parts.connect(transport)
    parts.deliver(0)
    made = parts.broadcast.subscribe(one, interest_in(["b"]), "requested")
    assert made.result() == CODEC.encode((1,))
    assert (one.changed_at, one.subscriber.interest.patterns) == (CODEC.encode((1,)), ("b",))
    parts.deliver(1)
    assert parts.broadcast.subscribe(one, interest_in(["a", "b"]), "requested").done()
    parts.deliver(2)
    assert texts(transport) == ["trelay.connected", "0/0", "trelay.subscribed", "trelay.subscribed", "0/2"]
    told = [found for found in events(transport.sent) if found.get("type") == "trelay.subscribed"]
    assert [each["data"] for each in told] == [
        {"channels": ["b"], "reason": "requested"},
        {"channels": ["a", "b"], "reason": "requested"},
    ]
    assert [each["cursor"] for each in told] == [CODEC.encode((end,)).decode() for end in (1, 2)]


async def test_a_connection_that_ends_is_not_changed(parts: Parts) -> None:
    transport = FakeTransport()
    one = parts.connect(transport)
    one.end(REMOVED)
    assert await parts.broadcast.subscribe(one, interest_in(["b"]), "requested") is None
    assert texts(transport) == ["trelay.connected"]


async def test_a_connection_that_catches_up_is_changed_after_what_was_read_for_it(parts: Parts) -> None:
    parts.deliver(0, 1)
    transport = FakeTransport()
    one = parts.connect(transport)
    one.pause_writing()
    parts.catch_up.start(one, (0,))
    parts.hub.leave(one)  # as a connection that lags: it is in no audience
    made = parts.broadcast.subscribe(one, interest_in(["b"]), "requested")
    assert not made.done()
    one.resume_writing()
    assert await made == CODEC.encode((0,))
    assert texts(transport) == ["trelay.connected", "trelay.subscribed"]


async def test_a_change_ends_with_a_connection_that_catches_up(parts: Parts) -> None:
    parts.deliver(0)
    one = parts.connect(FakeTransport())
    one.pause_writing()
    parts.catch_up.start(one, (0,))
    made = parts.broadcast.subscribe(one, interest_in(["b"]), "requested")
    one.end(REMOVED)
    assert await made is None


async def test_a_change_is_made_when_a_log_that_was_cut_ends_all_catching_up(parts: Parts) -> None:
    parts.deliver(0)
    transport = FakeTransport()
    one = parts.connect(transport)
    one.pause_writing()
    parts.catch_up.start(one, (0,))
    made = parts.broadcast.subscribe(one, interest_in(["b"]), "requested")
    parts.broadcast.on_gap("log-cut", "cut")
    assert await made == CODEC.encode((1,))
    assert texts(transport)[-1] == "trelay.subscribed"


async def test_a_change_with_conflation_holds_behind_what_was_taken_before() -> None:
    live, transport = Live(), FakeTransport()
    values = [value(offset, subjects=1000, fill=10_000) for offset in range(20)]
    for batch in live.encoder.batches([record("a", offset, value=found) for offset, found in enumerate(values)]):
        live.broadcast.deliver(batch)
    async with live.catch_up:
        one = live.begin(transport, CODEC.encode((0,)).decode())
        made = live.broadcast.subscribe(one, interest_in(["b"], conflate=0.5), "requested")
        await turns()
    found = texts(transport)
    taken = found.index("trelay.subscribed") - 1
    assert found == ["trelay.connected", *(f"0/{offset}" for offset in range(taken)), "trelay.subscribed"]
    assert made.result() == CODEC.encode((taken,)), "and not behind events that were not written"


async def test_no_cursor_goes_back_behind_a_change_of_quiet_channels() -> None:
    live = Live()
    async with live.catch_up:
        live.deliver(0, 1, 2)
        one = conflated(FakeTransport(), interest_in(["quiet"], conflate=0.5))
        live.hub.add(one)
        live.broadcast.start(one, CODEC.encode((0,)).decode())
        await turns()
        assert one.reached == CODEC.encode((3,))
        made = live.broadcast.subscribe(one, HALF, "requested")
        assert one.reached == made.result()
