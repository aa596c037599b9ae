import base64
import json
import logging
import uuid
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from services.experience_api.hub.audience import Subscriber, interest_in
from services.experience_api.metrics import ExperienceMetrics
from services.experience_api.sessions.inbound import Inbound
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


class Parts:
    def __init__(self, appender: FlakyAppender) -> None:
        self.registry = CollectorRegistry()
        self.alerts = RecordingAlerts()
        metrics = ExperienceMetrics(self.registry)
        self.inbound = Inbound(appender, "trelay.inbound", self.alerts, metrics, FrozenClock(), lambda: "id-1")

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
