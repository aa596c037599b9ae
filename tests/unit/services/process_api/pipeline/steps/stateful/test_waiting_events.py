"""The events of a group that wait: few are one value, and many cost what they change."""

import msgspec
import pytest

from services.process_api.pipeline.steps.stateful import waiting_events
from services.process_api.pipeline.steps.stateful.stored import Stored
from services.process_api.pipeline.steps.stateful.waiting_events import Waiting, add, between, mark, take
from services.process_api.state.step_state import StepState
from tests.unit.services.process_api.pipeline.steps.stateful.stepping import Stepping

GROUP = b"L3:C-1"


def waiting(at: int, name: str = "") -> Waiting:
    return Waiting(at, Stored(name.encode(), None, None, b""))


def state_of() -> tuple[Stepping, StepState]:
    bench = Stepping({"join": {"left": "a", "right": "b", "within": 60}})
    return bench, bench.state


def test_an_event_writes_no_others_of_a_large_group() -> None:
    bench, state = state_of()
    for number in range(1000):
        add(GROUP, waiting(number, "x" * 100), state)
        bench.running.keep("orders")
    bench.layers.seal()
    add(GROUP, waiting(1000, "x" * 100), state)
    bench.running.keep("orders")
    written = sum(len(key) + len(value or b"") for key, value in bench.layers.seal().items())
    assert written < 400, "the event, its timer and their number"


@pytest.mark.parametrize("small", [0, 2, 100])
def test_events_come_as_they_arrived(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_events, "_SMALL", small)
    bench, state = state_of()
    for number, at in enumerate([5, 3, 3, 9, 4, 0]):
        add(GROUP, waiting(at, str(number)), state)
    bench.running.keep("orders")
    add(b"R3:C-1", waiting(4, "of another group"), state)
    assert [each.waiting.event.value for each in between(GROUP, 3, 5, state)] == [b"0", b"1", b"2", b"4"]
    assert [each.waiting.event.value for each in between(GROUP, -60, 0, state)] == [b"5"]
    mark(GROUP, between(GROUP, 3, 3, state), state)
    mark(GROUP, between(GROUP, 3, 3, state), state)
    assert [each.waiting.matched for each in between(GROUP, 0, 9, state)] == [False, True, True, False, False, False]
    assert [(each.event.value, each.matched) for each in take(GROUP, 3, state)] == [(b"1", True), (b"2", True)]
    assert take(GROUP, 3, state) == []
    assert [each.waiting.at for each in between(GROUP, 0, 9, state)] == [5, 9, 4, 0]
    for at in (5, 9, 4, 0):
        assert len(take(GROUP, at, state)) == 1
    assert between(GROUP, 0, 9, state) == []
    assert state.get(GROUP) is None


def earlier(state: StepState) -> None:
    """Write a group as earlier releases did: all of its events as one value."""
    events = [[number, [b"%d" % number, None, None, b"p"], False] for number in range(1000)]
    state.put(GROUP, msgspec.msgpack.encode(events))


def test_a_group_of_an_earlier_release_is_read_whatever_its_size() -> None:
    _, state = state_of()
    earlier(state)
    assert len(between(GROUP, 0, 999, state)) == 1000
    assert [each.event.value for each in take(GROUP, 7, state)] == [b"7"]
    mark(GROUP, between(GROUP, 8, 8, state), state)
    add(GROUP, waiting(8, "new"), state)
    found = between(GROUP, 0, 999, state)
    assert (len(found), [each.waiting.matched for each in found].count(True)) == (1000, 1)
    assert [each.event.value for each in take(GROUP, 8, state)] == [b"8", b"new"]


@pytest.mark.parametrize("first", ["add", "mark", "take"])
def test_each_change_writes_a_large_group_of_an_earlier_release_anew(first: str) -> None:
    bench, state = state_of()
    earlier(state)
    bench.running.keep("orders")
    match first:
        case "add":
            add(GROUP, waiting(0), state)
        case "mark":
            mark(GROUP, between(GROUP, 0, 0, state), state)
        case _:
            take(GROUP, 0, state)
    bench.running.keep("orders")
    bench.layers.seal()
    assert [each.event.value for each in take(GROUP, 1, state)] == [b"1"]
    bench.running.keep("orders")
    assert sum(len(value or b"") for value in bench.layers.seal().values()) < 50, "what is left and no other event"


def test_a_small_group_is_written_as_by_earlier_releases() -> None:
    _, state = state_of()
    for number in range(3):
        add(GROUP, waiting(number, str(number)), state)
    expected = [[number, [b"%d" % number, None, None, b"", None], False] for number in range(3)]
    assert state.get(GROUP) == msgspec.msgpack.encode(expected)


def test_what_is_undone_leaves_nothing() -> None:
    bench, state = state_of()
    for number in range(20):
        add(GROUP, waiting(number), state)
    bench.running.keep("orders")
    add(GROUP, waiting(5, "undone"), state)
    take(GROUP, 3, state)
    bench.running.undo("orders")
    assert [each.waiting.at for each in between(GROUP, 0, 99, state)] == list(range(20))
