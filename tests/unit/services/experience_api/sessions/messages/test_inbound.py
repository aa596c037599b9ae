import base64
import json
import logging
import uuid
from collections.abc import Sequence
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from services.experience_api.hub.audience import Subscriber, interest_in
from services.experience_api.metrics import ExperienceMetrics
from services.experience_api.producers.once.appender import OnceAppender
from services.experience_api.producers.once.keys import Guarded
from services.experience_api.refusals import BUSY, KEY_REUSED, PUSH_IN_PROGRESS, UNAVAILABLE, Refusal, Refused
from services.experience_api.sessions.messages.inbound import Inbound
from services.experience_api.stream.control_events import Receipt
from shared.alerts import RecordingAlerts
from shared.bus.protocol import Outgoing
from shared.errors import Unavailable
from shared.events.event import decode, validate
from shared.events.headers import CONTENT_TYPE, PROVENANCE, unpack_provenance
from shared.runtime.clock import SystemClock

DEMO = Subscriber(uuid.UUID(int=7), "demo", interest_in(["**"]))


class FrozenClock(SystemClock):
    """Time stands still, and sleeps end at once."""

    def time(self) -> float:
        return 1_700_000_000.5

    async def sleep(self, seconds: float) -> None:
        pass


class FlakyAppender:
    """Fails a given number of times."""

    def __init__(self, failures: int = 0) -> None:
        self.records: list[tuple[str, Outgoing]] = []
        self._failures = failures

    async def append(self, topic: str, records: Sequence[Outgoing]) -> None:
        if self._failures:
            self._failures -= 1
            raise Unavailable("the bus is unavailable")
        self.records.extend((topic, record) for record in records)


class Once:
    """Raises these refusals, then appends once by key."""

    def __init__(self, *refusals: Refusal) -> None:
        self.records: dict[bytes, tuple[str, Guarded]] = {}
        self._refusals = list(refusals)

    async def append(self, guarded: Sequence[Guarded], topic: str = "") -> int:
        if self._refusals:
            raise Refused(self._refusals.pop(0), "why")
        (only,) = guarded
        if (before := self.records.setdefault(only.key.digest, (topic, only))[1]) is only:
            return 1
        if before.key != only.key:
            raise Refused(KEY_REUSED)
        return 0


class Parts:
    def __init__(self, appender: FlakyAppender, once: "Once | None" = None) -> None:
        self.registry = CollectorRegistry()
        self.alerts = RecordingAlerts()
        metrics = ExperienceMetrics(self.registry)
        self.once = once or Once()
        publisher = cast("OnceAppender", self.once)
        self.inbound = Inbound(
            appender, publisher, "trelay.inbound", self.alerts, metrics, FrozenClock(), lambda: "id-1"
        )

    def value(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"trelay_experience_{name}")


def test_sending_without_permission_is_logged_counted_and_alerted(caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts(FlakyAppender())
    with caplog.at_level(logging.WARNING):
        parts.inbound.on_refused(DEMO)
    (record,) = caplog.records
    assert record.getMessage() == "consumer sent without permission; closing"
    assert vars(record)["client_id"] == "demo"
    assert vars(record)["code"] == 4500
    assert vars(record)["connection_id"] == str(DEMO.connection_id)
    (told,) = parts.alerts.calls
    assert (told.method, told.kind, told.place) == ("event", "send refused", "client demo")
    assert parts.value("sends_refused_total") == 1


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b'{ "a" : 1.50 }', {"datacontenttype": "application/json", "data": {"a": 1.5}}),
        (b"[1]", {"datacontenttype": "application/json", "data": [1]}),
        ("grüß dich".encode(), {"datacontenttype": "text/plain", "data": "grüß dich"}),
        (b"", {"datacontenttype": "text/plain", "data": ""}),
        (b"\xff\x00", {"data_base64": base64.b64encode(b"\xff\x00").decode()}),
        (b"[" * 5000, {"datacontenttype": "text/plain", "data": "[" * 5000}),
    ],
)
async def test_a_message_becomes_an_event_of_its_client(message: bytes, expected: dict[str, object]) -> None:
    appender = FlakyAppender()
    await Parts(appender).inbound.append(DEMO, message)
    ((topic, record),) = appender.records
    assert topic == "trelay.inbound"
    assert record.key == b"demo"
    event = decode(record.value or b"")
    validate(event)
    assert json.loads(record.value or b"") == {
        "specversion": "1.0",
        "id": "id-1",
        "source": "/clients/demo",
        "type": "consumer.message",
        "subject": "demo",
        "time": "2023-11-14T22:13:20.500Z",
        **expected,
    }
    assert record.headers[0] == CONTENT_TYPE
    assert unpack_provenance(dict(record.headers)[PROVENANCE]) == ("inbound", 1_700_000_000_500, "id-1")


async def test_a_message_waits_while_the_bus_is_unavailable() -> None:
    appender = FlakyAppender(failures=5)
    parts = Parts(appender)
    await parts.inbound.append(DEMO, b"{}")
    assert len(appender.records) == 1
    assert parts.value("inbound_total") == 1


async def test_a_bus_that_stays_unavailable_is_an_error() -> None:
    parts = Parts(FlakyAppender(failures=1000))
    with pytest.raises(Unavailable):
        await parts.inbound.append(DEMO, b"{}")
    assert parts.value("inbound_total") == 0


async def test_a_message_is_acknowledged_with_the_id_of_its_event() -> None:
    parts = Parts(FlakyAppender())
    assert await parts.inbound.append(DEMO, b"{}") == Receipt("id-1")
    found = await parts.inbound.append(DEMO, b'{"type":"trelay.message","id":"m-1"}')
    assert found[:3] == ("", None, "malformed")
    assert "expected {" in found.detail


async def test_a_message_with_an_id_is_stored_once() -> None:
    parts = Parts(FlakyAppender(), Once(PUSH_IN_PROGRESS, BUSY, UNAVAILABLE))
    first = await parts.inbound.append(DEMO, b'{"type":"trelay.message","id":"m-1","data":{"a":1}}')
    again = await parts.inbound.append(DEMO, b'{"id":"m-1","type":"trelay.message","data":{"a" : 1}}')
    assert first == again
    assert (first.sent_id, first.code) == ("m-1", "")
    ((topic, guarded),) = parts.once.records.values()
    (record,) = guarded.records
    event = json.loads(record.value or b"")
    assert (topic, event["id"], event["data"]) == ("trelay.inbound", first.event_id, {"a": 1})
    assert parts.value("inbound_total") == 1
    other = await parts.inbound.append(DEMO, b'{"type":"trelay.message","id":"m-1","data":{"a":2}}')
    assert other == Receipt("", "m-1", "idempotency-key-reused", "the id was used for a message with other data")
    another = Subscriber(DEMO.connection_id, "another", DEMO.interest)
    mine = await parts.inbound.append(another, b'{"type":"trelay.message","id":"m-1","data":{"a":1}}')
    assert mine.code == ""
    assert mine.event_id != first.event_id, "each client has ids of its own"
