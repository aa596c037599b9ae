import json

import pytest

from services.experience_api.stream.control_events import OwnEvents
from shared.events.event import decode, validate
from shared.runtime.clock import SystemClock
from tests.unit.services.experience_api.events import event
from tests.unit.services.experience_api.hub.connections import subscriber


class Noon(SystemClock):
    def time(self) -> float:
        return 1_700_000_000.5


SAYS = OwnEvents(Noon(), 25.0)
WHO = subscriber("orders.*", "stock")

FRAMES = {
    "trelay.connected": SAYS.connected(WHO, b"AbC"),
    "trelay.gap": SAYS.gap(WHO, "not-kept", "what is lost", b"AbC"),
    "trelay.refused": SAYS.refused(WHO, "consumers may not send"),
    "trelay.draining": SAYS.draining(WHO, 1.234),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_each_is_a_cloud_event_of_ours(kind: str) -> None:
    said = event(FRAMES[kind])
    validate(decode(json.dumps(said).encode()))
    assert (said["type"], said["source"]) == (kind, "/trelay")
    assert said["time"] == "2023-11-14T22:13:20.500Z"
    assert said["id"].startswith(str(WHO.connection_id))
    assert said.get("cursor") == ("AbC" if kind in {"trelay.connected", "trelay.gap"} else None)


def test_no_two_have_one_id() -> None:
    assert len({event(frame)["id"] for frame in FRAMES.values()}) == len(FRAMES)


def test_what_they_say() -> None:
    data = {kind: event(frame)["data"] for kind, frame in FRAMES.items()}
    assert data == {
        "trelay.connected": {
            "connection": str(WHO.connection_id),
            "channels": ["orders.*", "stock"],
            "heartbeat": 25.0,
        },
        "trelay.gap": {"reason": "not-kept", "detail": "what is lost"},
        "trelay.refused": {"detail": "consumers may not send"},
        "trelay.draining": {"wait": 1.2},
    }


def test_a_gap_of_everybody_is_one_event() -> None:
    assert event(SAYS.gap(None, "log-cut", "x", b"AbC"))["id"] == "gap/AbC"
