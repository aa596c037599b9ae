"""Values over sessions; `test_aggregate` has what all windows have in common."""

import pytest

from shared.errors import Malformed
from shared.runtime.clock import rfc3339
from tests.unit.services.process_api.pipeline.steps.stateful.stepping import START, Stepping, data_of
from tests.unit.services.process_api.pipeline.steps.stateful.test_aggregate import (
    HOUR,
    OFFSET,
    SECOND,
    aggregate,
    counts,
    send,
)


def test_a_session_that_becomes_another_after_a_clock_that_was_ahead_gives_one_result() -> None:
    bench = Stepping(aggregate({"session": 60}, early=3600, lateness=60))
    for number in range(150):
        bench.send({"v": 1}, at=60 * SECOND, written=HOUR, subject=f"s{number}")
    bench.now = 0
    bench.begin()
    first = {made["subject"] for made in bench.tick(1)}
    other = next(name for name in (f"s{number}" for number in range(150)) if name not in first)
    made = bench.send({"v": 1}, at=30 * SECOND, written=2, subject=other)
    while more := bench.due():
        made += more
    assert other not in {each["subject"] for each in made}, "its next early result is due later"
    made = bench.send({"v": 1}, at=600 * SECOND, written=2 * HOUR)
    while more := bench.due():
        made += more
    assert [each["data"]["n"] for each in made if each["subject"] == other and each["data"]["final"]] == [2]


def test_sessions_end_after_their_gap_and_merge() -> None:
    bench = Stepping(aggregate({"session": 10}, lateness=20, early=1))
    send(bench, 0, 1)
    send(bench, 15 * SECOND, 2)
    send(bench, 8 * SECOND, 4)
    assert bench.stored() == 3
    made = data_of(send(bench, 45 * SECOND, 8))
    assert [(data["sum"], data["final"]) for data in made] == [(7, True)]
    assert made[0]["start"] == rfc3339((START - OFFSET) / 1000)
    assert made[0]["end"] == rfc3339((START - OFFSET + 25 * SECOND) / 1000)
    with pytest.raises(Malformed, match="late"):
        send(bench, 14 * SECOND)


def test_sessions_without_lateness_take_events_in_their_order() -> None:
    bench = Stepping(aggregate({"session": 10}))
    send(bench, 0, 1)
    send(bench, 0, 2)
    send(bench, 9999, 4)
    assert counts(send(bench, 19_999, 8)) == [3]  # the session has ended there
    with pytest.raises(Malformed, match=r"is 0\.001 s behind the newest event"):
        send(bench, 19_998)
    assert counts(send(bench, 40 * SECOND)) == [1]


def test_sessions_of_one_subject_are_bounded() -> None:
    bench = Stepping(aggregate({"session": 0.001}, lateness=3600))
    for number in range(1000):
        send(bench, number * 10)
    with pytest.raises(Malformed, match="1000 sessions of one subject are open"):
        send(bench, 20_000)
