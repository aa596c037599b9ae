"""Windows over the time of events."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.process_api.pipeline.steps.stateful.windows import Span, Window, touch, union

TIMES = st.integers(0, 10**13)


@given(TIMES, st.integers(1, 10**6))
def test_one_tumbling_window_covers_a_time(at: int, seconds: int) -> None:
    [span] = Window(tumbling=seconds).spans.of(at)
    assert span.start <= at < span.end == span.start + seconds * 1000
    assert span.start % (seconds * 1000) == 0


@given(TIMES, st.integers(1, 500), st.integers(1, 500))
def test_sliding_windows_are_all_that_cover_a_time(at: int, size: int, every: int) -> None:
    every = min(size, every)
    found = Window(sliding=size, every=every).spans.of(at)
    first = max(0, (at - size * 1000) // (every * 1000) - 2)
    starts = [number * every * 1000 for number in range(first, at // (every * 1000) + 3)]
    assert found == [Span(s, s + size * 1000) for s in starts if s <= at < s + size * 1000]


def test_a_session_begins_with_its_event() -> None:
    assert Window(session=0.5).spans.of(7) == [Span(7, 507)]


def test_sessions_that_touch_are_one() -> None:
    assert touch(Span(0, 10), Span(9, 19))
    assert not touch(Span(0, 10), Span(10, 20))
    assert union(Span(5, 10), Span(0, 7)) == Span(0, 10)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({}, "found no window; expected one of tumbling, sliding and session"),
        ({"tumbling": 1, "session": 1}, "found tumbling and session"),
        ({"sliding": 60}, "`sliding` and `every` belong together"),
        ({"tumbling": 60, "every": 6}, "`sliding` and `every` belong together"),
        ({"sliding": 60, "every": 61}, "`every` is longer than `sliding`"),
        ({"sliding": 3600, "every": 1}, "more than 1000 times"),
        ({"tumbling": 0.0001}, "expected whole milliseconds"),
        ({"tumbling": 0}, "greater than 0"),
    ],
)
def test_windows_that_are_none(written: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Window.model_validate(written)
