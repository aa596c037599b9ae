"""Values, timers and undo, compared with a plain model."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.process_api.state.changes import Layers
from services.process_api.state.memory import MemoryStore
from services.process_api.state.step_state import LARGEST_VALUE, Moment, PipelineState, StepState, Timer
from shared.errors import Malformed

KEYS = st.sampled_from([b"a", b"b", b"ab", b""])
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=2)),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("put_item"), KEYS, st.binary(max_size=2)),
        st.tuples(st.just("delete_item"), KEYS),
        st.tuples(st.just("items"), KEYS, KEYS),
        st.tuples(st.just("set_timer"), st.integers(0, 20), KEYS),
        st.tuples(st.just("clear_timer"), st.integers(0, 20), KEYS),
        st.tuples(st.just("take_due"), st.integers(0, 20), st.integers(1, 3)),
        st.tuples(st.just("take_beyond"), st.integers(0, 20), st.integers(1, 3)),
        st.tuples(st.sampled_from(["keep", "undo", "seal", "settle", "check"])),
    ),
    max_size=60,
)


class Model:
    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.found: dict[bytes, bytes] = {}
        self.timers: set[Timer] = set()
        self.keep()

    def keep(self) -> None:
        self.kept = (dict(self.values), dict(self.found), set(self.timers))

    def undo(self) -> None:
        self.values, self.found, self.timers = dict(self.kept[0]), dict(self.kept[1]), set(self.kept[2])

    def put(self, key: bytes, value: bytes) -> None:
        self.values[key] = value

    def delete(self, key: bytes) -> None:
        self.values.pop(key, None)

    def put_item(self, key: bytes, value: bytes) -> None:
        self.found[key] = value

    def delete_item(self, key: bytes) -> None:
        self.found.pop(key, None)

    def items(self, start: bytes, stop: bytes) -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for key, value in self.found.items() if start <= key < stop)

    def set_timer(self, at: int, key: bytes) -> None:
        self.timers.add(Timer(at, key))

    def clear_timer(self, at: int, key: bytes) -> None:
        self.timers.discard(Timer(at, key))

    def take_due(self, until: int, limit: int) -> list[Timer]:
        return self._take([timer for timer in sorted(self.timers) if timer.at <= until][:limit])

    def take_beyond(self, until: int, limit: int) -> list[Timer]:
        return self._take([timer for timer in sorted(self.timers) if timer.at > until][:limit])

    def _take(self, taken: list[Timer]) -> list[Timer]:
        self.timers -= set(taken)
        return taken


@given(OPERATIONS)
def test_a_step_state_is_as_a_plain_model(operations: list[tuple[Any, ...]]) -> None:
    layers = Layers(MemoryStore())
    pipeline = PipelineState(layers, Moment())
    state, other = StepState(pipeline, 1), StepState(pipeline, 2)
    other.put(b"a", b"other")
    other.put_item(b"a", b"other")
    other.set_timer(b"e", 3, b"a")
    pipeline.keep()
    model = Model()
    for name, *arguments in operations:
        match name:
            case "items":
                assert state.items(*sorted(arguments)) == model.items(*sorted(arguments))
            case "put" | "delete" | "put_item" | "delete_item":
                getattr(state, name)(*arguments)
                getattr(model, name)(*arguments)
            case "set_timer" | "clear_timer":
                getattr(state, name)(b"e", *arguments)
                getattr(model, name)(*arguments)
            case "take_due" | "take_beyond":
                assert getattr(state, name)(b"e", *arguments) == getattr(model, name)(*arguments)
            case "keep" | "undo":
                getattr(pipeline, name)()
                getattr(model, name)()
            case "seal":
                layers.seal()
            case "settle" if layers.sealed:
                layers.store.apply(layers.sealed[0])
                layers.sealed.popleft()
        first = min(model.timers, default=None)
        known = state.next_timer(b"e")
        assert first is None or (known is not None and known <= first.at)
        for key in (b"a", b"b", b"ab", b""):
            assert state.get(key) == model.values.get(key)
        assert state.items(b"", b"z") == model.items(b"", b"z")
    assert other.get(b"a") == b"other"
    assert other.items(b"", b"z") == [(b"a", b"other")]
    assert other.next_timer(b"e") == 3


def test_numbers_and_kinds_of_timers_are_apart() -> None:
    pipeline = PipelineState(Layers(MemoryStore()), Moment(now=5))
    state = StepState(pipeline, 7)
    assert state.moment.now == 5
    assert state.number(b"watermark") is None
    state.set_number(b"watermark", -12)
    assert state.number(b"watermark") == -12
    assert state.get(b"watermark") is None
    state.set_timer(b"w", 4, b"k")
    assert state.next_timer(b"e") is None
    assert state.take_due(b"w", 4, 1) == [Timer(4, b"k")]
    assert state.next_timer(b"w") is None
    pipeline.undo()
    pipeline.undo()
    assert state.number(b"watermark") is None


def test_a_value_that_the_bus_would_refuse_is_refused_while_an_event_is_processed() -> None:
    state = StepState(PipelineState(Layers(MemoryStore()), Moment()), 1)
    state.put(b"k", bytes(LARGEST_VALUE + 1))
    state.limited = True
    state.put(b"k", bytes(LARGEST_VALUE))
    for put in (state.put, state.put_item):
        with pytest.raises(Malformed, match=f"its state would have {LARGEST_VALUE + 1} bytes, the limit is"):
            put(b"k", bytes(LARGEST_VALUE + 1))
    assert (len(state.get(b"k") or b""), state.items(b"", b"z")) == (LARGEST_VALUE, [])
