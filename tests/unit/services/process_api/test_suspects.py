"""The search for a record that becomes too large, or takes too long."""

import dataclasses

from services.process_api.suspects import TOO_LONG, Attempts, Slow, Suspects
from tests.unit.services.process_api.making import record


def test_nothing_is_suspected_before_something_was_refused() -> None:
    suspects = Suspects()
    assert not suspects.alone(0)
    assert suspects.refusal(record(b"", 0)) is None
    assert not suspects.cut(0)


def test_what_a_refused_transaction_was_made_of_is_tried_one_by_one() -> None:
    suspects = Suspects()
    assert suspects.blame(10, 19, "too large")
    assert [suspects.alone(offset) for offset in (9, 10, 19, 20)] == [True, True, True, False]
    assert suspects.refusal(record(b"", 15)) is None


def test_the_one_that_is_refused_alone_goes_to_the_dead_letter() -> None:
    suspects = Suspects()
    suspects.blame(10, 19, "too large")
    assert suspects.blame(15, 15, "2 MiB, the limit is 1")
    assert suspects.refusal(record(b"", 15)) == "2 MiB, the limit is 1"
    assert suspects.refusal(record(b"", 14)) is None
    assert not suspects.cut(15)


def test_one_whose_dead_letter_is_refused_is_cut_and_then_nothing_helps() -> None:
    suspects = Suspects()
    assert suspects.blame(15, 15, "too large")
    assert suspects.blame(15, 15, "still too large")
    assert suspects.cut(15)
    assert suspects.refusal(record(b"", 15)) == "too large"
    assert not suspects.blame(15, 15, "and still")


def test_the_same_refusal_again_teaches_nothing() -> None:
    suspects = Suspects()
    assert suspects.blame(10, 19, "too large")
    assert not suspects.blame(10, 19, "too large")


def after(*seconds: float, offset: int = 7) -> Suspects:
    """What is known after as many drives in which a record took so long."""
    slow: Slow = {}
    for took in seconds:
        Suspects(slow).tarried(record(b"", offset), took)
    return Suspects(slow)


def test_what_took_long_time_and_again_is_put_aside_when_it_comes_again() -> None:
    suspects = after(TOO_LONG, 41.6)
    assert suspects.alone(7)
    assert not suspects.alone(8)
    assert "it took 42 s to run" in (suspects.refusal(record(b"", 7)) or "")
    assert suspects.refusal(record(b"", 6)) is None


def test_what_took_long_once_is_tried_again_for_the_process_may_have_been_paused() -> None:
    assert after(3600.0).refusal(record(b"", 7)) is None
    assert after(TOO_LONG - 0.1, TOO_LONG - 0.1).refusal(record(b"", 7)) is None


def test_a_record_of_a_later_topic_is_another_one() -> None:
    suspects = after(10.0, 10.0)
    assert suspects.refusal(dataclasses.replace(record(b"", 7), timestamp=1)) is None


def test_only_the_newest_slow_ones_are_remembered() -> None:
    slow: Slow = {}
    for offset in range(1100):
        Suspects(slow).tarried(record(b"", offset), 10.0)
    assert (min(slow), len(slow)) == (100, 1000)


def test_runs_are_counted_from_what_is_committed_on() -> None:
    attempts = Attempts()
    attempts.begin(0)
    assert attempts.before(0) == 0
    attempts.ran(5)
    assert attempts.before(5) == 0
    attempts.begin(3)
    assert [attempts.before(offset) for offset in (3, 5, 6)] == [1, 1, 0]
    attempts.ran(4)
    attempts.begin(3)
    assert [attempts.before(offset) for offset in (3, 4, 5, 6)] == [2, 2, 1, 0]
    attempts.begin(3)
    assert attempts.before(3) == 2
    attempts.ran(9)
    attempts.begin(10)
    assert attempts.before(10) == 0


def test_what_is_run_again_and_again_costs_no_memory() -> None:
    attempts = Attempts()
    for _ in range(10_000):
        attempts.begin(7)
        attempts.ran(7)
    assert attempts.before(7) == 9_999
    assert len(attempts._ended) == 1
