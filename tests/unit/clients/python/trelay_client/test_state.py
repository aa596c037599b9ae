import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trelay_client.state import Frame, Reconnect, Stopped, SubscriptionState, UnreadableFrame, is_shown


class HighRandom(random.Random):
    """Always returns the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        return b


def new_state(cursor: str | None = None, *, can_register: bool = True) -> SubscriptionState:
    return SubscriptionState(cursor, can_register=can_register, rng=HighRandom())


def frame(number: int = 1, **more: Any) -> str:
    event = {"specversion": "1.0", "id": f"orders:{number}", "source": "/sources/orders", "type": "order.updated"}
    return json.dumps({**event, **more})


def test_a_heartbeat_is_shown_to_those_who_ask_for_it() -> None:
    heartbeat = Frame("{}", {"source": "/trelay", "type": "trelay.heartbeat"}, "a")
    event = Frame("{}", {"source": "/sources/orders", "type": "trelay.heartbeat"}, "a")
    assert is_shown(heartbeat, heartbeats=True)
    assert not is_shown(heartbeat, heartbeats=False)
    assert is_shown(event, heartbeats=False)


def test_the_cursor_advances_with_every_frame_that_has_one() -> None:
    state = new_state("before")
    assert state.cursor == "before"
    state.received(frame(1, cursor="a"))
    assert state.cursor == "a"
    state.received(frame(2))
    assert state.cursor == "a"
    state.received(json.dumps({"source": "/trelay", "type": "trelay.gap", "cursor": "b"}))
    assert state.cursor == "b"


@pytest.mark.parametrize("attributes", [{"cursor": "start"}, {"data": {"cursor": "start"}}])
def test_a_stream_can_be_resumed_from_its_first_frame(attributes: dict[str, Any]) -> None:
    state = new_state()
    got = state.received(json.dumps({"source": "/trelay", "type": "trelay.connected", **attributes}))
    assert isinstance(got, Frame)
    assert got.own
    assert (got.cursor, state.cursor) == ("start", "start")


@pytest.mark.parametrize(
    ("source", "kind", "expected"),
    [
        ("/trelay", "trelay.heartbeat", True),
        ("/trelay", "trelay.connected", False),
        ("/sources/orders", "trelay.heartbeat", False),
    ],
)
def test_only_a_heartbeat_of_the_service_is_one(source: str, kind: str, *, expected: bool) -> None:
    got = new_state().received(json.dumps({"source": source, "type": kind, "id": "1", "cursor": "a"}))
    assert isinstance(got, Frame)
    assert got.heartbeat is expected


def test_an_event_is_returned_once_and_a_control_event_every_time() -> None:
    state = new_state()
    assert state.received(frame(1, cursor="a")) is not None
    assert state.received(frame(1, cursor="b")) is None
    assert state.cursor == "b"
    own = json.dumps({"source": "/trelay", "id": "x", "type": "trelay.draining"})
    assert state.received(own) is not None
    assert state.received(own) is not None


def test_a_snapshot_that_begins_has_events_that_were_received_before() -> None:
    def snapshot(phase: str, source: str = "/trelay") -> str:
        return json.dumps({"source": source, "type": "trelay.snapshot", "id": phase, "data": {"phase": phase}})

    state = new_state()
    assert isinstance(state.received(frame(1)), Frame)
    assert state.received(frame(1)) is None
    assert isinstance(state.received(snapshot("begin")), Frame)
    assert isinstance(state.received(frame(1)), Frame)
    state.received(snapshot("end"))
    state.received(snapshot("begin", "/sources/orders"))
    assert state.received(frame(1)) is None


def test_the_memory_of_received_events_is_limited() -> None:
    state = new_state()
    for number in range(10_001):
        state.received(frame(number))
    assert state.received(frame(0)) is not None
    assert state.received(frame(10_000)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "12", '"x"', "\ud800"])
def test_an_invalid_frame_is_unreadable_and_leaves_the_cursor(text: str) -> None:
    state = new_state("before")
    found = state.received(text)
    assert isinstance(found, UnreadableFrame)
    assert (found.text, found.cursor, state.cursor) == (text, None, "before")


@pytest.mark.parametrize("data", ["1e400", "9" * 5000, r'"\ud83d"', "NaN", "[" * 100_000])
def test_the_cursor_moves_behind_a_frame_that_cannot_be_read(data: str) -> None:
    state = new_state("before")
    found = state.received(f'{{"cursor":"behind","id":"1","data":{data}}}')
    assert isinstance(found, UnreadableFrame)
    assert (found.cursor, state.cursor) == ("behind", "behind")
    assert found.reason.startswith("not JSON that can be read: ")


@pytest.mark.parametrize(
    ("code", "reason", "pause"),
    [
        (4000, "draining; wait=2.5", 3.75),
        (4001, "too slow; wait=1.0", 1.5),
        (4003, "internal error", 0.5),
        (1001, "", 0.5),
        (1011, "", 0.5),
        (4000, "draining; wait=soon", 0.5),
    ],
)
def test_reconnects_after_the_named_wait(code: int, reason: str, pause: float) -> None:
    state = new_state()
    assert state.closed(code, reason, 60.0) == Reconnect(pause, False, f"{reason or 'connection closed'} ({code})")


@pytest.mark.parametrize("code", [4500, 4501, 4502, 4503, 4504, 4999, 1002, 1007, 1009])
def test_does_not_reconnect_after_these_codes(code: int) -> None:
    with pytest.raises(Stopped, match=rf"not reconnecting: why \({code}\)") as stopped:
        new_state().closed(code, "why", 60.0)
    assert stopped.value.code == code


@pytest.mark.parametrize("code", [4505, 4506])
def test_an_invalid_token_is_replaced_if_the_credentials_are_known(code: int) -> None:
    state = new_state()
    assert state.closed(code, "token expired", 60.0).register
    with pytest.raises(Stopped):
        state.closed(code, "token expired", 0.0)  # a new one would be refused, too
    state.received(frame())
    assert state.closed(code, "token expired", 60.0).register
    with pytest.raises(Stopped):
        new_state(can_register=False).closed(code, "token expired", 60.0)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
def test_retries_a_temporary_refusal(status: int) -> None:
    assert new_state().refused(status, "busy", 7.0, registering=False) == Reconnect(10.5, False, f"busy ({status})")


@pytest.mark.parametrize("status", [200, 400, 403, 404, 413, 426])
def test_does_not_retry_a_permanent_refusal(status: int) -> None:
    with pytest.raises(Stopped, match=rf"refused by the server: why \({status}\)") as stopped:
        new_state().refused(status, "why", None, registering=False)
    with pytest.raises(Stopped):
        new_state().refused(status, "why", None, registering=False, of_relay=False)  # perhaps a wrong address
    state = new_state()
    state.received('{"source":"/trelay"}')
    assert state.refused(status, "why", 7.0, registering=False, of_relay=False).pause >= 7.0
    assert not state.refused(status, "why", None, registering=True, of_relay=False).register
    with pytest.raises(Stopped):
        state.refused(status, "why", None, registering=False)
    assert stopped.value.code == status


def test_a_refused_token_is_replaced_once_and_again_after_success() -> None:
    state = new_state()
    assert state.refused(401, "expired", None, registering=False).register
    with pytest.raises(Stopped):
        state.refused(401, "expired", None, registering=False)
    state.received(frame())
    assert state.refused(401, "expired", None, registering=False).register


def test_wrong_credentials_are_not_retried() -> None:
    with pytest.raises(Stopped):
        new_state().refused(401, "wrong", None, registering=True)
    with pytest.raises(Stopped):
        new_state(can_register=False).refused(401, "wrong", None, registering=False)


def test_pauses_double_up_to_a_ceiling_and_restart_after_a_stable_connection() -> None:
    state = new_state()
    pauses = []
    for _ in range(8):
        state.connecting()
        pauses.append(state.lost("refused", 0.0).pause)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    state.connecting()
    state.received(frame())
    assert state.lost("lost", 9.0).pause == 30.0
    state.connecting()
    state.received(frame())
    assert state.lost("lost", 11.0).pause == 0.5
    state.connecting()
    assert state.lost("no frame", 11.0).pause == 1.0


def test_ten_thousand_losses_do_not_overflow() -> None:
    state = new_state()
    for _ in range(10_000):
        state.lost("x", 0.0)
    assert state.lost("x", 0.0).pause == 30.0


@given(st.text() | st.dictionaries(st.text(), st.none() | st.text() | st.integers()).map(json.dumps))
def test_any_frame_is_an_event_or_unreadable(text: str) -> None:
    assert isinstance(new_state().received(text), Frame | UnreadableFrame)


@given(st.integers(1000, 4999), st.text(max_size=200), st.floats(0, 1e6))
def test_any_close_is_a_limited_pause_or_the_end(code: int, reason: str, connected_s: float) -> None:
    with contextlib.suppress(Stopped):
        assert 0 <= new_state().closed(code, reason, connected_s).pause <= 1.5e6
