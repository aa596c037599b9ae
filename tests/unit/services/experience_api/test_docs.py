"""docs/subscribers.md agrees with the code: frames, close codes, refusals, and what the client does."""

import json
import random
import re
from pathlib import Path
from uuid import UUID

import pytest

from services.experience_api import refusals
from services.experience_api.auth.admission import AdmissionOptions
from services.experience_api.auth.verifier import VerifyOptions
from services.experience_api.hub import close_codes
from services.experience_api.hub.audience import Subscriber, interest_in
from services.experience_api.hub.hub import HubOptions
from services.experience_api.refusals import Refused
from services.experience_api.sessions.messages.inbound import ID_REUSED
from services.experience_api.settings import ExperienceOptions
from services.experience_api.stream import control_events
from services.experience_api.stream.catching_up.catch_up import CatchUpOptions
from services.experience_api.stream.control_events import ControlEvents, Receipt
from services.experience_api.stream.options import DeliveryOptions
from services.experience_api.wire.cursor import ForeignCursor, MalformedCursor
from services.experience_api.wire.frames import EventFrame, event_frame, event_payload, text_frame
from shared.bus.topics import TopicsOptions
from shared.runtime.clock import SystemClock
from trelay_client import Stopped
from trelay_client.state import PROTOCOL_CODES, TOKEN_CODES, SubscriptionState

PAGE = (Path(__file__).parents[4] / "docs" / "subscribers.md").read_text()
CONNECTION = UUID("0b0e1a52-6c3f-4f0e-9d56-3f1c8a2b7e10")
CURSOR = b"AaTfqOv4sAkAVwWnTQ"
GAP_REASONS = {"NOT_KEPT", "CURSOR_AHEAD", "LOG_CUT", "TOPIC_REPLACED"}


class Clock(SystemClock):
    def time(self) -> float:
        return 1_767_323_045.123


def section(title: str) -> str:
    """Return the text below a heading, up to the next one."""
    (found,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def rows(text: str) -> list[list[str]]:
    """Return the cells of the rows of a table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def frames(text: str) -> list[bytes]:
    """Return the examples in JSON, one line each."""
    return [found.encode() for found in re.findall(r"```json\n(.*)\n```", text)]


def test_every_close_code_is_listed_with_its_reason_and_whether_to_reconnect() -> None:
    expected = [[str(code.code), code.name, "yes" if code.reconnect else "no"] for code in close_codes.ALL]
    assert [row[:3] for row in rows(section("Close codes"))] == sorted(expected)


def test_every_refusal_is_listed_with_its_status_and_meaning() -> None:
    found = [tuple(row) for row in rows(section("Refusals"))]
    assert sorted(found) == sorted((str(each.status), each.code, each.title) for each in refusals.ALL)


def test_the_example_of_a_refusal_is_the_body_of_the_response() -> None:
    (example,) = frames(section("Refusals"))
    refused = Refused(refusals.ALREADY_CONNECTED)
    assert json.loads(example) == {"status": refused.status, "detail": refused.detail, **refused.members}


def test_every_control_event_is_shown_as_it_is_on_the_wire() -> None:
    events = ControlEvents(Clock(), HubOptions().heartbeat.seconds, TopicsOptions().largest_frame)
    subscriber = Subscriber(CONNECTION, "billing", interest_in(["orders.*"]))
    oversized = EventFrame(1_200_345, CURSOR.decode(), {"source": "/sources/orders", "id": "orders:4711:1"})
    detail = "trelay.publish/2: offset 12 is no longer kept, the earliest is 87"
    assert [text_frame(frame) for frame in frames(section("Control events"))] == [
        events.connected(subscriber, CURSOR),
        events.gap(subscriber, control_events.NOT_KEPT, detail, CURSOR),
        events.subscribed(subscriber, "granted", CURSOR),
        events.oversized(subscriber, oversized),
        events.refused(subscriber, close_codes.MAY_NOT_SEND.name),
        events.received(subscriber, 3, Receipt("5f0c7f5e-4b7e-5d0c-9a34-0c1f2ab5d9e1", "reading-17")),
        events.received(subscriber, 4, Receipt("", "reading-17", refusals.KEY_REUSED.code, ID_REUSED)),
        events.heartbeat(subscriber, CURSOR),
        events.watermark("orders", 1_767_323_044_250, ["orders.eu"]),
        events.draining(subscriber, 2.5, CURSOR),
    ]


def test_the_example_of_an_event_is_as_it_is_on_the_wire() -> None:
    (frame,) = frames(section("Read"))
    value = b"{" + frame.removeprefix(b'{"cursor":"%b",' % CURSOR)
    assert event_frame(event_payload(value), CURSOR) == text_frame(frame)


def test_every_reason_of_a_gap_is_listed() -> None:
    in_code = {value for name, value in vars(control_events).items() if name in GAP_REASONS}
    assert {reason for reason, _ in rows(section("Control events"))} == in_code | {
        MalformedCursor.reason,
        ForeignCursor.reason,
    }


@pytest.mark.parametrize("row", rows(section("Close codes")), ids=lambda row: row[0])
def test_the_client_reconnects_as_the_page_says(row: list[str]) -> None:
    state = SubscriptionState(None, can_register=False, rng=random.Random(1))
    code, reason, reconnect, _ = row
    if reconnect == "yes":
        assert not state.closed(int(code), reason, 0.0).register
    else:
        with pytest.raises(Stopped):
            state.closed(int(code), reason, 0.0)


def test_the_client_stops_and_registers_after_the_codes_that_the_page_names() -> None:
    found = {row[0]: row[1] for row in rows(section("Handle the end of a connection"))}
    (protocol,) = [end for end, do in found.items() if "violated the protocol" in do]
    (token,) = [end for end, do in found.items() if do == "Register again, then reconnect."]
    assert set(map(int, re.findall(r"\d{4}", protocol))) == PROTOCOL_CODES
    assert set(map(int, re.findall(r"\d{4}", token))) == TOKEN_CODES


def test_the_limits_are_those_of_the_settings() -> None:
    found = {row[0].removesuffix(" *"): row[1] for row in rows(section("Limits"))}
    handshakes, registrations = AdmissionOptions(), ExperienceOptions().registrations
    delivery = DeliveryOptions()
    assert found["events buffered for you in memory"].startswith(f"{HubOptions().outbox_bytes // 2**20} MiB")
    assert (
        found["time without reading anything of what is buffered"] == f"{CatchUpOptions().drain_timeout:g} s, then 4001"
    )
    assert found["time to answer a Close frame, once you have read what precedes it"] == f"{delivery.close_timeout:g} s"
    assert found["size of a message, an event with its cursor, before compression"].startswith(
        f"{TopicsOptions().largest_frame // 2**20} MiB"
    )
    assert found["heartbeat"] == f"{HubOptions().heartbeat.seconds:g} s"
    assert found["messages you may send, with permission"] == f"{delivery.inbound_bytes // 1024} KiB each"
    per_second = found["messages a second of one connection, with permission"]
    assert per_second == f"{delivery.inbound_per_second:g}, further ones wait"
    failed = f"{handshakes.failures} at once, then {handshakes.failures_per_second:g} per second, else 429"
    assert found["failed connection attempts per address, and per token at an address"] == failed
    seconds = 1 / registrations.failures_per_second
    failed = f"{registrations.failures} at once, then 1 every {seconds:g} seconds, else 429"
    assert found["failed registrations per address, and per client at an address"] == failed
    secrets = VerifyOptions()
    failed = f"{secrets.guesses} different ones at once, then {secrets.guesses_per_second:g} per second, else 429"
    assert found["wrong secrets chosen by the operator, per client at an address"] == failed
