"""Records that become too large, or are slow."""

import dataclasses

from services.process_api.operations.gate import Paused
from services.process_api.worker.poison import SLOW_SECONDS, Attempts, PoisonTracker, SlowRecords
from shared.errors import Unavailable
from tests.unit.services.process_api.making import record


def test_no_record_is_poison_before_the_bus_refuses_one() -> None:
    poison = PoisonTracker()
    assert not poison.is_isolated(0)
    assert poison.rejection(record(b"", 0)) is None
    assert not poison.is_truncated(0)


def test_the_records_of_a_refused_transaction_are_isolated() -> None:
    poison = PoisonTracker()
    assert poison.isolate(10, 19, "too large")
    assert [poison.is_isolated(offset) for offset in (9, 10, 19, 20)] == [True, True, True, False]
    assert poison.rejection(record(b"", 15)) is None


def test_a_record_that_is_refused_alone_is_rejected() -> None:
    poison = PoisonTracker()
    poison.isolate(10, 19, "too large")
    assert poison.isolate(15, 15, "2 MiB, the limit is 1")
    assert poison.rejection(record(b"", 15)) == "2 MiB, the limit is 1"
    assert poison.rejection(record(b"", 14)) is None
    assert not poison.is_truncated(15)


def test_a_record_whose_dead_letter_is_refused_is_truncated_once() -> None:
    poison = PoisonTracker()
    assert poison.isolate(15, 15, "too large")
    assert poison.isolate(15, 15, "still too large")
    assert poison.is_truncated(15)
    assert poison.rejection(record(b"", 15)) == "too large"
    assert not poison.isolate(15, 15, "and still")


def test_the_same_refusal_twice_is_not_retried() -> None:
    poison = PoisonTracker()
    assert poison.isolate(10, 19, "too large")
    assert not poison.isolate(10, 19, "too large")


def after(*seconds: float, offset: int = 7) -> PoisonTracker:
    """What is known after as many runs in which a record took so long."""
    slow: SlowRecords = {}
    for took in seconds:
        PoisonTracker(slow).note_slow(record(b"", offset), took)
    return PoisonTracker(slow)


def test_a_record_that_was_slow_twice_is_rejected() -> None:
    poison = after(SLOW_SECONDS, 41.6)
    assert poison.is_isolated(7)
    assert not poison.is_isolated(8)
    assert poison.rejection(record(b"", 7)) == "took 42 s, the limit is 5 s; rejected after 2 attempts"
    assert poison.rejection(record(b"", 6)) is None


def test_a_record_that_was_slow_once_runs_again_because_the_process_may_have_been_paused() -> None:
    assert after(3600.0).rejection(record(b"", 7)) is None
    assert after(SLOW_SECONDS - 0.1, SLOW_SECONDS - 0.1).rejection(record(b"", 7)) is None


def test_a_record_of_a_later_topic_is_another_record() -> None:
    poison = after(10.0, 10.0)
    assert poison.rejection(dataclasses.replace(record(b"", 7), timestamp=1)) is None


def test_only_the_newest_slow_records_are_remembered() -> None:
    slow: SlowRecords = {}
    for offset in range(1100):
        PoisonTracker(slow).note_slow(record(b"", offset), 10.0)
    assert (min(slow), len(slow)) == (100, 1000)


def test_attempts_are_counted_from_the_committed_offset() -> None:
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


def test_counting_attempts_takes_no_memory_per_attempt() -> None:
    attempts = Attempts()
    for _ in range(10_000):
        attempts.begin(7)
        attempts.ran(7)
    assert attempts.before(7) == 9_999
    assert len(attempts._ended) == 1


def test_a_record_of_a_paused_pipeline_is_not_attempted() -> None:
    poison = PoisonTracker()
    for error, attempts in ((Paused("orders"), 0), (Unavailable("no answer"), 1)):
        poison.note_attempt(error, record(b"", 5))
        poison.attempts.begin(5)
        assert poison.attempts.before(5) == attempts
