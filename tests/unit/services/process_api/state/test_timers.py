"""The timers of one kind, compared with a sorted set."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.process_api.state import timers as module
from services.process_api.state.keys import time_key, time_of
from services.process_api.state.timers import Timers

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add", "discard"]), st.integers(0, 12), st.sampled_from([b"", b"a"])),
        st.tuples(st.just("take_due"), st.integers(-1, 12), st.integers(1, 6)),
        st.tuples(st.sampled_from(["keep", "undo", "next"])),
    ),
    max_size=60,
)


class Scanned:
    """Timers, and what scans of them pass."""

    def __init__(self, found: set[bytes]) -> None:
        self.found = found
        self.starts: list[bytes] = []
        self.passed = 0

    def scan(self, start: bytes) -> Iterator[bytes]:
        self.starts.append(start)
        for timer in sorted(self.found):
            if timer >= start:
                self.passed += 1
                yield timer


@pytest.fixture(autouse=True, scope="module")
def _few_are_read_at_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AHEAD", 3)
        yield


@example({0, 5}, [("next",), ("take_due", 0, 1), ("undo",), ("discard", 0, b""), ("take_due", 12, 1), ("undo",)])
@given(st.sets(st.integers(0, 12)), OPERATIONS)
def test_they_are_as_a_sorted_set(times: set[int], operations: list[tuple[Any, ...]]) -> None:
    scanned = Scanned({time_key(at) for at in times})
    timers, kept = Timers(scanned.scan), set(scanned.found)
    for name, *arguments in operations:
        match name, arguments:
            case "add" | "discard", (at, key):
                getattr(scanned.found, name)(time_key(at) + key)
                getattr(timers, name)(time_key(at) + key)
            case "take_due", (until, limit):
                due = [timer for timer in sorted(scanned.found) if time_of(timer) <= until][:limit]
                assert timers.take_due(until, limit) == due
                scanned.found.difference_update(due)
            case "keep", _:
                kept = set(scanned.found)
                timers.keep()
            case "undo", _:
                scanned.found = set(kept)
                timers.undo()
            case _:
                known = timers.next()
                assert known is not None or not scanned.found
                assert known is None or known <= min(map(time_of, scanned.found), default=known)
    assert timers.take_due(30, 1000) == sorted(scanned.found)
    assert timers.next() is None


def test_each_is_read_once() -> None:
    scanned = Scanned({time_key(at) for at in range(300)})
    timers = Timers(scanned.scan)
    for until in range(300):
        timers.next()
        due = timers.take_due(until, 100)
        timers.undo()  # an event that is rejected
        timers.keep()
        assert due == timers.take_due(until, 100) == [time_key(until)]
        scanned.found.discard(time_key(until))
        timers.add(time_key(until + 300))
        scanned.found.add(time_key(until + 300))
        timers.keep()
        assert scanned.starts[-1] >= time_key(until)
    before = len(scanned.starts)
    for until in range(300, 600):
        assert timers.take_due(until, 100) == [time_key(until)]
        scanned.found.discard(time_key(until))
        timers.keep()
    assert len(scanned.starts) - before <= 300 / 3
    assert timers.next() is None


def test_those_that_are_held_are_bounded() -> None:
    scanned = Scanned(set())
    timers = Timers(scanned.scan)
    assert timers.next() is None
    for at in range(1000):
        timers.add(time_key(at))
        scanned.found.add(time_key(at))
        timers.keep()
    assert len(timers._first) <= 6
    assert [time_of(timer) for timer in timers.take_due(1000, 1000)] == list(range(1000))
