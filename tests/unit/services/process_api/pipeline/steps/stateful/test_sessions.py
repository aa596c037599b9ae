"""The open sessions of a group: few are one value, and many cost what they change."""

import random

import pytest

from services.process_api.pipeline.steps.stateful import sessions
from services.process_api.pipeline.steps.stateful.results import Open, pack
from services.process_api.pipeline.steps.stateful.sessions import of_start, replace, touching
from services.process_api.pipeline.steps.stateful.windows import Span, touch, union
from services.process_api.state.step_state import StepState
from shared.errors import Malformed
from tests.unit.services.process_api.pipeline.steps.stateful.stepping import Stepping

GROUP = b"3:C-1"
GAP = 10


def session(start: int, end: int = 0) -> Open:
    return Open(start, end or start + GAP, "C-1", (), "orders", [])


def state_of() -> tuple[Stepping, StepState]:
    bench = Stepping({"aggregate": {"window": {"session": 10}, "values": {"n": "count"}}})
    return bench, bench.state


def test_an_event_writes_no_other_session_where_there_are_many() -> None:
    bench, state = state_of()
    for number in range(900):
        replace(GROUP, (), session(number * 100), state)
    bench.running.keep("orders")
    bench.layers.seal()
    [before] = touching(GROUP, Span(50_005, 50_015), state)
    replace(GROUP, [before], session(50_000, 50_015), state)
    bench.running.keep("orders")
    assert len(bench.layers.seal()) == 1, "the session itself"


@pytest.mark.parametrize("few", [0, 1, 8])
def test_random_sessions_as_a_plain_model(few: int, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(sessions, "_FEW", few)
    rng, (bench, state) = random.Random(seed), state_of()
    model: list[Open] = []
    for _ in range(500):
        if model and rng.random() < 0.3:
            gone = rng.choice(model)
            model.remove(gone)
            assert of_start(GROUP, gone.start, state) == gone
            replace(GROUP, [gone], None, state)
            assert of_start(GROUP, gone.start, state) is None
        else:
            at = rng.randrange(300)
            span = Span(at, at + GAP)
            found = touching(GROUP, span, state)
            assert sorted(found, key=lambda each: each.start) == sorted(
                (each for each in model if touch(each.span, span)), key=lambda each: each.start
            )
            for each in found:
                model.remove(each)
                span = union(span, each.span)
            model.append(session(*span))
            replace(GROUP, found, model[-1], state)
        bench.running.keep("orders")
        bench.transact(rng)
    for each in model:
        replace(GROUP, [each], None, state)
    bench.running.keep("orders")
    assert bench.stored() == 0


def test_sessions_of_an_earlier_release_are_read_whatever_their_number() -> None:
    """It wrote all of them as one value."""
    _, state = state_of()
    state.put(GROUP, pack([session(number * 100) for number in range(500)]))
    assert touching(GROUP, Span(701, 711), state) == [session(700)]
    assert of_start(GROUP, 800, state) == session(800)
    replace(GROUP, [session(700)], session(700, 711), state)
    assert of_start(GROUP, 700, state) == session(700, 711)
    assert touching(GROUP, Span(49_900, 49_910), state) == [session(49_900)]


def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST", 20)
    _, state = state_of()
    for number in range(20):
        replace(GROUP, (), session(number * 100), state)
    with pytest.raises(Malformed, match="20 sessions of one subject are open"):
        replace(GROUP, (), session(9000), state)
