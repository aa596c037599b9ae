import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trelay_client.course import Course, Next, Stopped
from trelay_client.errors import Malformed


class Loaded(random.Random):
    """Dice that always fall high."""

    def uniform(self, a: float, b: float) -> float:
        return b


def course(cursor: str | None = None, *, can_register: bool = True) -> Course:
    return Course(cursor, can_register=can_register, rng=Loaded())


def frame(number: int = 1, **more: Any) -> str:
    event = {"specversion": "1.0", "id": f"orders:{number}", "source": "/sources/orders", "type": "order.updated"}
    return json.dumps({**event, **more})


def test_the_cursor_moves_with_every_frame_that_has_one() -> None:
    following = course("before")
    assert following.cursor == "before"
    following.received(frame(1, cursor="a"))
    assert following.cursor == "a"
    following.received(frame(2))
    assert following.cursor == "a"
    following.received(json.dumps({"source": "/trelay", "type": "trelay.gap", "cursor": "b"}))
    assert following.cursor == "b"


@pytest.mark.parametrize("place", [{"cursor": "start"}, {"data": {"cursor": "start"}}])
def test_a_stream_can_be_resumed_from_its_first_frame(place: dict[str, Any]) -> None:
    following = course()
    got = following.received(json.dumps({"source": "/trelay", "type": "trelay.connected", **place}))
    assert got is not None
    assert got.own
    assert (got.cursor, following.cursor) == ("start", "start")


def test_an_event_is_given_once_and_what_trelay_says_every_time() -> None:
    following = course()
    assert following.received(frame(1, cursor="a")) is not None
    assert following.received(frame(1, cursor="b")) is None
    assert following.cursor == "b"
    own = json.dumps({"source": "/trelay", "id": "x", "type": "trelay.draining"})
    assert following.received(own) is not None
    assert following.received(own) is not None


def test_what_is_remembered_is_bounded() -> None:
    following = course()
    for number in range(10_001):
        following.received(frame(number))
    assert following.received(frame(0)) is not None
    assert following.received(frame(10_000)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "12", '"x"', "\ud800"])
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        course().received(text)


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
def test_comes_back_after_the_wait_that_is_named(code: int, reason: str, pause: float) -> None:
    following = course()
    assert following.closed(code, reason, 60.0) == Next(pause, False, f"{reason or 'connection closed'} ({code})")


@pytest.mark.parametrize("code", [4500, 4501, 4502, 4503, 4504, 4999, 1002, 1007, 1009])
def test_does_not_come_back_when_told_not_to(code: int) -> None:
    with pytest.raises(Stopped, match=rf"for good: why \({code}\)"):
        course().closed(code, "why", 60.0)


@pytest.mark.parametrize("code", [4505, 4506])
def test_a_token_that_is_worthless_is_replaced_where_it_can_be(code: int) -> None:
    assert course().closed(code, "token expired", 60.0).register
    with pytest.raises(Stopped):
        course(can_register=False).closed(code, "token expired", 60.0)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
def test_tries_again_what_may_be_answered_differently(status: int) -> None:
    assert course().refused(status, "busy", 7.0, registering=False) == Next(10.5, False, f"busy ({status})")


@pytest.mark.parametrize("status", [200, 400, 403, 404, 413, 426])
def test_does_not_repeat_what_will_not_be(status: int) -> None:
    with pytest.raises(Stopped, match=rf"refuses: why \({status}\)"):
        course().refused(status, "why", None, registering=False)


def test_a_refused_token_is_replaced_once_and_again_after_it_worked() -> None:
    following = course()
    assert following.refused(401, "expired", None, registering=False).register
    with pytest.raises(Stopped):
        following.refused(401, "expired", None, registering=False)
    following.received(frame())
    assert following.refused(401, "expired", None, registering=False).register


def test_wrong_credentials_are_not_tried_again() -> None:
    with pytest.raises(Stopped):
        course().refused(401, "wrong", None, registering=True)
    with pytest.raises(Stopped):
        course(can_register=False).refused(401, "wrong", None, registering=False)


def test_pauses_double_up_to_a_ceiling_and_begin_anew_after_a_good_connection() -> None:
    following = course()
    pauses = []
    for _ in range(8):
        following.connecting()
        pauses.append(following.lost("refused", 0.0).pause)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    following.connecting()
    following.received(frame())
    assert following.lost("gone", 9.0).pause == 30.0
    following.connecting()
    following.received(frame())
    assert following.lost("gone", 11.0).pause == 0.5
    following.connecting()
    assert following.lost("never heard", 11.0).pause == 1.0


def test_ten_thousand_losses_do_not_overflow() -> None:
    following = course()
    for _ in range(10_000):
        following.lost("x", 0.0)
    assert following.lost("x", 0.0).pause == 30.0


@given(st.text() | st.dictionaries(st.text(), st.none() | st.text() | st.integers()).map(json.dumps))
def test_any_frame_is_an_event_or_refused(text: str) -> None:
    with contextlib.suppress(Malformed):
        course().received(text)


@given(st.integers(1000, 4999), st.text(max_size=200), st.floats(0, 1e6))
def test_any_ending_is_a_pause_within_bounds_or_the_end(code: int, reason: str, lived: float) -> None:
    with contextlib.suppress(Stopped):
        assert 0 <= course().closed(code, reason, lived).pause <= 1.5e6
