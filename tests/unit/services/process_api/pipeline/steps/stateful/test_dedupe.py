"""Only the first of equal events passes."""

import random
from typing import Any

import pytest

from shared.errors import Malformed
from tests.unit.services.process_api.pipeline.steps.stateful.stepping import Stepping

SECOND, HOUR = 1000, 3_600_000


def passes(bench: Stepping, key: object, at: int, **more: Any) -> bool:
    return bool(bench.send({"key": key}, written=at, **more))


def test_the_first_of_equal_events_passes_until_its_time_is_over() -> None:
    bench = Stepping({"dedupe": {"by": "key", "within": 60}})
    assert [passes(bench, "a", at * SECOND) for at in (0, 1, 59, 60, 61)] == [True, False, False, True, False]


def test_the_id_is_the_default() -> None:
    bench = Stepping({"dedupe": {"within": 60}})
    assert bench.send({}, id="x")
    assert not bench.send({}, id="x")
    assert bench.send({}, id="y")


def test_events_of_other_subjects_and_other_values_are_not_equal() -> None:
    bench = Stepping({"dedupe": {"by": ["key", "$event.type"], "within": 60}})
    assert passes(bench, "a", 0)
    assert passes(bench, "a", 0, subject="C-2")
    assert passes(bench, "a", 0, type="other")
    assert passes(bench, ["a"], 0)
    assert not passes(bench, "a", 0)


def test_long_keys_are_distinct() -> None:
    bench = Stepping({"dedupe": {"by": "key", "within": 60}})
    assert passes(bench, "x" * 5000, 0)
    assert passes(bench, "x" * 5000 + "y", 0)
    assert not passes(bench, "x" * 5000, 0)


def test_an_event_without_the_key_is_rejected() -> None:
    with pytest.raises(Malformed, match="`by`: key is undefined for this event"):
        Stepping({"dedupe": {"by": "key", "within": 60}}).send({})


def test_what_is_over_is_deleted_with_and_without_input() -> None:
    bench = Stepping({"dedupe": {"by": "key", "within": 60}})
    for key in range(50):
        passes(bench, key, key * SECOND)
    assert bench.stored() == 100
    passes(bench, "late", 300 * SECOND)
    assert bench.stored() == 2
    assert bench.next_due is not None
    bench.tick(bench.next_due)
    assert bench.stored() == 0
    assert bench.next_due is None


def test_a_clock_that_was_ahead_for_years_does_not_end_events_for_years() -> None:
    bench = Stepping({"dedupe": {"by": "key", "within": 60}})
    assert passes(bench, "a", 10 * 365 * 24 * HOUR)
    assert passes(bench, "a", 0)
    assert not passes(bench, "a", 59 * SECOND)
    assert passes(bench, "a", 60 * SECOND)


def test_random_events_as_a_plain_model(seed: int) -> None:
    rng, bench = random.Random(seed), Stepping({"dedupe": {"by": "key", "within": 60}})
    model: dict[int, int] = {}
    at = 0
    for _ in range(1500):
        at += rng.choice([0, 1, SECOND, 5 * SECOND])
        key = rng.randrange(40)
        expected = key not in model or at - model[key] >= 60 * SECOND
        assert passes(bench, key, at) == expected
        if expected:
            model[key] = at
        if rng.random() < 0.05:
            bench.begin()
