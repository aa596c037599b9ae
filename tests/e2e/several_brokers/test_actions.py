"""How pauses without events are attributed to actions, and which errors count as bugs."""

import pytest

from tests.e2e.several_brokers.actions import ActionLog, described, longest_silence, silence_after
from tests.e2e.several_brokers.report import tracebacks

ARRIVALS = [1.0, 2.0, 2.5, 7.5, 8.0, 20.0]


@pytest.mark.parametrize(
    ("at", "silence"),
    [
        (2.2, 5.0),  # the event at 2.5 still came; what begins there is within a second
        (3.0, 5.0),  # under way
        (1.0, 1.0),  # the long one begins more than a second later
        (7.0, 12.0),  # the longest one of those that begin within the second
        (0.0, 1.0),  # before the first event
        (30.0, 0.0),  # nothing came after it
    ],
)
def test_the_longest_silence_that_begins_within_a_second(at: float, silence: float) -> None:
    assert silence_after(at, ARRIVALS) == silence


def test_without_events_there_is_no_silence_to_measure() -> None:
    assert silence_after(1.0, []) == 0.0


def test_the_longest_silence_between_two_moments_counts_from_and_to_them() -> None:
    assert longest_silence(2.0, 7.0, ARRIVALS) == 4.5
    assert longest_silence(9.0, 12.0, ARRIVALS) == 3.0
    assert longest_silence(0.0, 2.2, [1.0, 2.0]) == 1.0


def test_figures() -> None:
    assert described([]) == "none"
    assert described([1.0, 4.0, 2.0]) == "p50 2.00 s, max 4.00 s of 3"


def test_actions_are_counted_by_part_and_kind_and_found_by_phase() -> None:
    log = ActionLog()
    for log.phase in ("first", "second"):
        with log.during("broker", "kill", "broker 1"):
            pass
    with log.during("service", "pause", "system-1"):
        pass
    assert log.counts() == {"broker kill": 2, "service pause": 1}
    [moment] = log.times("second", "broker", "kill")
    assert moment == log.actions[1].began
    assert [line.split(None, 2)[2].split(" after")[0] for line in log.lines[-2:]] == [
        "pause system-1",
        "pause system-1 is over",
    ]


def test_each_traceback_in_a_log_is_found_once_by_the_message_before_it() -> None:
    log = """\
2026-11-28T10:38:21.463Z INFO    shared.http.health: bus is connected
2026-11-28T10:38:34.850Z ERROR   shared.runtime.tasks: transaction failed: 'a'
  | Traceback (most recent call last):
  |   File "x.py", line 1, in x
  | During handling of the above exception, another exception occurred:
  | Traceback (most recent call last):
  | KeyError: 'a'
2026-11-28T10:38:35.000Z ERROR   shared.lease: a lease is lost
2026-11-28T10:38:36.000Z ERROR   shared.runtime.tasks: transaction failed: 'b'
Traceback (most recent call last):
"""
    assert list(tracebacks(log.splitlines())) == [
        "ERROR   shared.runtime.tasks: transaction failed: 'a'",
        "ERROR   shared.runtime.tasks: transaction failed: 'b'",
    ]
