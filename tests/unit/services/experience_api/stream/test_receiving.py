import asyncio
from dataclasses import replace

import pytest

from services.experience_api.hub.audience import Subscriber
from services.experience_api.hub.close_codes import LOST, MAY_NOT_SEND, TOO_BIG, TOO_SLOW, UNAVAILABLE, CloseReason
from services.experience_api.hub.connection import Connection
from services.experience_api.stream.callbacks import Callbacks
from services.experience_api.stream.control_events import ControlEvents, Receipt
from services.experience_api.stream.receiving import Receiver
from shared.errors import TooLarge, Unavailable
from tests.unit.services.experience_api.clocks import StillClock
from tests.unit.services.experience_api.events import events
from tests.unit.services.experience_api.hub.connections import connection
from tests.unit.services.experience_api.hub.transports import FakeTransport


class Parts:
    """A receiver whose messages are stored by the test."""

    def __init__(self, per_second: float = 100.0) -> None:
        self.clock = StillClock()
        self.stored: list[bytes] = []
        self.refused: list[Subscriber] = []
        self.error: Exception | None = None
        callbacks = Callbacks(self.refused.append, self._store, lambda _source, _seconds: None)
        self.receiver = Receiver(callbacks, ControlEvents(self.clock, 25.0, 1_048_576), self.clock, per_second)

    async def _store(self, _subscriber: Subscriber, message: bytes) -> Receipt:
        if self.error is not None:
            raise self.error
        self.stored.append(message)
        if message == b"bad":
            return Receipt("", None, "malformed", "why")
        return Receipt(f"e-{len(self.stored)}", message.decode())


def sender(transport: FakeTransport, limit: int = 100_000) -> Connection:
    one = connection(transport, limit=limit)
    one.subscriber = replace(one.subscriber, may_send=True)
    return one


async def test_each_message_is_acknowledged_in_order() -> None:
    parts, transport = Parts(), FakeTransport()
    one = sender(transport)
    for message in (b"m-1", b"bad", b"m-2"):
        await parts.receiver.on_message(one, message)
    assert [(found["type"], found["data"]) for found in events(transport.sent)] == [
        ("trelay.accepted", {"message": 1, "id": "m-1", "event": "e-1"}),
        ("trelay.rejected", {"message": 2, "code": "malformed", "detail": "why"}),
        ("trelay.accepted", {"message": 3, "id": "m-2", "event": "e-3"}),
    ]


@pytest.mark.parametrize(
    ("error", "reason"), [(Unavailable("away"), UNAVAILABLE), (TooLarge("large"), TOO_BIG)], ids=["away", "large"]
)
async def test_what_is_not_stored_is_not_acknowledged(
    error: Exception, reason: CloseReason, caplog: pytest.LogCaptureFixture
) -> None:
    parts, transport = Parts(), FakeTransport()
    parts.error = error
    one = sender(transport)
    await parts.receiver.on_message(one, b"m-1")
    assert (one.ending, transport.sent) == (reason, b"")
    assert [record.getMessage() for record in caplog.records] == ["message not stored; closing"]


async def test_a_client_that_may_not_send_is_ended() -> None:
    parts, transport = Parts(), FakeTransport()
    one = connection(transport)
    await parts.receiver.on_message(one, b"m-1")
    assert (one.ending, parts.refused, parts.stored) == (MAY_NOT_SEND, [one.subscriber], [])
    assert [found["type"] for found in events(transport.sent)] == ["trelay.refused"]
    other, permitted = connection(FakeTransport()), sender(FakeTransport())
    parts.receiver.on_oversized(other)
    parts.receiver.on_oversized(permitted)
    assert (other.ending, permitted.ending) == (MAY_NOT_SEND, None)


async def test_a_client_that_does_not_read_its_acknowledgements_is_ended() -> None:
    parts = Parts()
    one = sender(FakeTransport(room=0), limit=1000)
    for _ in range(10):
        await parts.receiver.on_message(one, b"m")
    assert one.ending is TOO_SLOW


async def test_messages_above_the_rate_wait() -> None:
    parts, transport = Parts(per_second=1.0), FakeTransport()
    one = sender(transport)
    await parts.receiver.on_message(one, b"m-1")
    second = asyncio.create_task(parts.receiver.on_message(one, b"m-2"))
    await asyncio.sleep(0)
    assert parts.stored == [b"m-1"]
    parts.clock.pass_time(1.0)
    await second
    assert parts.stored == [b"m-1", b"m-2"]
    third = asyncio.create_task(parts.receiver.on_message(one, b"m-3"))
    await asyncio.sleep(0)
    one.end(LOST)
    parts.clock.pass_time(1.0)
    await third
    assert parts.stored == [b"m-1", b"m-2"], "of a connection that has ended meanwhile nothing is stored"
