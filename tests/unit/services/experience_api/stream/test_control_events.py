import json
from dataclasses import replace
from typing import Any

import pytest

from services.experience_api.stream.control_events import ControlEvents, Receipt, SnapshotBegins
from services.experience_api.wire.frames import EventFrame
from shared.events.event import decode, validate
from shared.runtime.clock import SystemClock
from tests.unit.services.experience_api.events import event
from tests.unit.services.experience_api.hub.connections import subscriber


class Noon(SystemClock):
    def time(self) -> float:
        return 1_700_000_000.5


CONTROL = ControlEvents(Noon(), 25.0, 1_048_576)
SUBSCRIBER = subscriber("orders.*", "stock")

FRAMES = {
    "trelay.connected": CONTROL.connected(SUBSCRIBER, b"AbC"),
    "trelay.gap": CONTROL.gap(SUBSCRIBER, "not-kept", "events 1 to 5", b"AbC"),
    "trelay.oversized": CONTROL.oversized(SUBSCRIBER, EventFrame(2_000_000, "AbC", {"source": "/s", "id": "1"})),
    "trelay.refused": CONTROL.refused(SUBSCRIBER, "consumers may not send"),
    "trelay.accepted": CONTROL.received(SUBSCRIBER, 1, Receipt("e-1", "m-1")),
    "trelay.rejected": CONTROL.received(SUBSCRIBER, 2, Receipt("", None, "malformed", "why")),
    "trelay.draining": CONTROL.draining(SUBSCRIBER, 1.234),
}


def valid_but_for_what_is_reserved(found: dict[str, Any]) -> None:
    """Check all that an entrance requires; it takes Trelay's source and types from nobody."""
    validate(decode(json.dumps(found | {"source": "/shop", "type": "order"}).encode()))


@pytest.mark.parametrize("kind", FRAMES)
def test_each_is_a_valid_cloud_event_of_the_relay(kind: str) -> None:
    found = event(FRAMES[kind])
    valid_but_for_what_is_reserved(found)
    assert (found["type"], found["source"]) == (kind, "/trelay")
    assert found["time"] == "2023-11-14T22:13:20.500Z"
    assert found["id"].startswith(str(SUBSCRIBER.connection_id))
    assert found.get("cursor") == ("AbC" if kind in {"trelay.connected", "trelay.gap"} else None)


def test_only_a_client_that_may_send_is_told_how_much() -> None:
    sending = replace(SUBSCRIBER, may_send=True)
    assert event(CONTROL.connected(sending, b"AbC"))["data"]["largest_message"] == 262_144
    assert "largest_message" not in event(CONTROL.connected(SUBSCRIBER, b"AbC"))["data"]


def test_ids_are_unique() -> None:
    assert len({event(frame)["id"] for frame in FRAMES.values()}) == len(FRAMES)


def test_the_data_of_each() -> None:
    data = {kind: event(frame)["data"] for kind, frame in FRAMES.items()}
    assert data == {
        "trelay.connected": {
            "connection": str(SUBSCRIBER.connection_id),
            "channels": ["orders.*", "stock"],
            "heartbeat": 25.0,
            "largest_frame": 1_048_576,
        },
        "trelay.gap": {"reason": "not-kept", "detail": "events 1 to 5"},
        "trelay.oversized": {
            "source": "/s",
            "id": "1",
            "bytes": 2_000_000,
            "skip": "AbC",
            "detail": "the next event has 2000000 bytes, and your connections ended with 1009 here: accept larger "
            "messages, or skip it with the cursor `skip`",
        },
        "trelay.refused": {"detail": "consumers may not send"},
        "trelay.accepted": {"message": 1, "id": "m-1", "event": "e-1"},
        "trelay.rejected": {"message": 2, "code": "malformed", "detail": "why"},
        "trelay.draining": {"wait": 1.2},
    }


def test_a_watermark_is_one_event_for_all_subscribers_of_the_same_channels() -> None:
    found = event(CONTROL.watermark("orders", 1_700_000_000_250, ["orders.eu"]))
    valid_but_for_what_is_reserved(found)
    assert (found["type"], found["id"]) == ("trelay.watermark", "watermark/orders/1700000000250")
    assert "cursor" not in found
    assert found["data"] == {
        "source": "/sources/orders",
        "as_of": "2023-11-14T22:13:20.250Z",
        "channels": ["orders.eu"],
    }


def test_a_gap_for_all_subscribers_is_one_event() -> None:
    assert event(CONTROL.gap(None, "log-cut", "x", b"AbC"))["id"] == "gap/AbC"


@pytest.mark.parametrize("copied_ms", [1_700_000_003_600_000, 2**62])
def test_a_snapshot_is_as_of_no_time_to_come(copied_ms: int) -> None:
    begins = SnapshotBegins(0, behind=3, copied_ms=copied_ms, missed=0, reason="")
    found = event(CONTROL.snapshot_begins(SUBSCRIBER, begins, b"AbC"))
    assert found["data"]["as_of"] == "2023-11-14T22:13:20.500Z"
