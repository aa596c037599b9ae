import json
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.alerts.board import DOUBT, TRACKED, Board, Pace, Report
from shared.alerts.budget import Budget

PACE = Pace(gather=5.0, digest_interval=3600.0)


def board(per_hour: int = 10, pace: Pace = PACE) -> Board:
    return Board(pace, Budget(per_hour, 0.0), 0.0)


def places(report: Report | None, section: str) -> list[str]:
    assert report is not None
    return [entry.place for entry in getattr(report, section)]


def test_nothing_happened_nothing_is_due() -> None:
    assert board().due(100.0) is None
    assert board().take(100.0) is None


def test_a_problem_is_told_once_it_has_gathered_and_once_when_it_ends() -> None:
    alerts = board()
    assert alerts.begin("source", "orders", "refused", 10.0)
    assert alerts.due(10.0) == 15.0
    assert alerts.take(14.9) is None
    assert places(alerts.take(15.0), "began") == ["orders"]
    assert alerts.end("source", "orders", "answers again", 100.0)
    report = alerts.take(105.0)
    assert places(report, "ended") == ["orders"]
    assert report is not None
    assert (report.ended[0].since, report.ended[0].until, report.ended[0].text) == (10.0, 100.0, "answers again")
    assert alerts.due(105.0) is None


def test_what_fails_together_is_told_together() -> None:
    alerts = board()
    for number in range(50):
        alerts.begin("source", f"s{number}", "refused", 10.0 + number / 100)
    assert len(places(alerts.take(15.0), "began")) == 50


def test_what_lasts_is_told_again_at_the_pace_of_the_digest() -> None:
    alerts = board()
    alerts.begin("source", "orders", "refused", 0.0)
    alerts.take(5.0)
    assert alerts.due(6.0) == 3605.0
    assert places(alerts.take(3605.0), "lasting") == ["orders"]
    assert alerts.due(3605.0) == 7205.0


def test_any_mail_is_a_digest_too() -> None:
    alerts = board()
    alerts.begin("source", "orders", "refused", 0.0)
    alerts.take(5.0)
    alerts.begin("source", "rates", "refused", 1000.0)
    report = alerts.take(1005.0)
    assert places(report, "began") == ["rates"]
    assert places(report, "lasting") == ["orders"]
    assert alerts.due(1005.0) == 4605.0


def test_what_flaps_between_two_mails_is_no_news() -> None:
    alerts = board()
    alerts.begin("source", "orders", "refused", 0.0)
    alerts.take(5.0)
    for _ in range(100):
        assert alerts.end("source", "orders", "", 10.0)
        assert alerts.begin("source", "orders", "refused again", 11.0)
    assert alerts.due(11.0) == 3605.0
    report = alerts.take(3605.0)
    assert report is not None
    assert (report.lasting[0].times, report.lasting[0].text) == (101, "refused again")


def test_what_came_and_went_before_the_mail_is_told_as_over() -> None:
    alerts = board()
    alerts.begin("source", "orders", "refused", 0.0)
    alerts.end("source", "orders", "", 1.0)
    report = alerts.take(5.0)
    assert places(report, "ended") == ["orders"]
    assert places(report, "began") == []


def test_an_end_without_a_beginning_is_passed_over() -> None:
    alerts = board()
    assert not alerts.end("source", "orders", "", 0.0)
    alerts.begin("source", "orders", "x", 0.0)
    assert alerts.end("source", "orders", "", 1.0)
    assert not alerts.end("source", "orders", "", 2.0)


def test_a_problem_that_is_said_again_and_again_is_one_mail() -> None:
    alerts = board()
    assert alerts.begin("source", "orders", "refused", 0.0)
    assert not any(alerts.begin("source", "orders", "refused", float(second)) for second in range(1, 5))
    alerts.take(5.0)
    assert alerts.due(5.0) == 3605.0


def test_events_of_one_place_are_told_at_once_and_then_counted() -> None:
    alerts = board()
    assert alerts.event("consumer sends", "demo", "12 bytes", 0.0)
    assert places(alerts.take(5.0), "happened") == ["demo"]
    assert alerts.due(5.0) is None
    assert alerts.event("consumer sends", "demo", "1 byte", 10.0)
    assert not any(alerts.event("consumer sends", "demo", f"{n} bytes", 10.0 + n) for n in range(1, 100))
    assert alerts.due(200.0) == 3605.0
    report = alerts.take(3605.0)
    assert report is not None
    (happened,) = report.happened
    assert (happened.times, happened.first, happened.last, happened.text) == (100, 10.0, 109.0, "99 bytes")


def test_an_event_after_a_quiet_while_is_news_again() -> None:
    alerts = board()
    alerts.event("consumer sends", "demo", "x", 0.0)
    alerts.take(5.0)
    alerts.begin("source", "orders", "refused", 4000.0)
    alerts.take(4005.0)
    alerts.event("consumer sends", "demo", "x", 4010.0)
    assert alerts.due(4010.0) == 4015.0


def test_beyond_the_mails_of_an_hour_news_wait_and_are_not_lost() -> None:
    alerts = board(per_hour=2)
    for number in range(2):
        alerts.event("x", str(number), "", 10.0 * number)
        assert alerts.take(10.0 * number + 5.0) is not None
    alerts.event("x", "2", "", 20.0)
    assert alerts.take(25.0) is None
    due = alerts.due(25.0)
    assert due is not None
    assert due == pytest.approx(5.0 + 1800.0)
    alerts.event("x", "3", "", 100.0)
    assert places(alerts.take(due), "happened") == ["2", "3"]


def test_in_a_hurry_news_do_not_gather_but_the_budget_holds() -> None:
    alerts = board(per_hour=1)
    assert alerts.take(0.0, hurry=True) is None
    alerts.begin("source", "orders", "refused", 0.0)
    assert places(alerts.take(0.0, hurry=True), "began") == ["orders"]
    alerts.begin("source", "rates", "refused", 0.0)
    assert alerts.take(1.0, hurry=True) is None


def test_what_lasts_alone_is_no_reason_to_hurry() -> None:
    alerts = board()
    alerts.begin("source", "orders", "refused", 0.0)
    alerts.take(5.0)
    assert alerts.take(6.0, hurry=True) is None


@pytest.mark.parametrize("call", ["begin", "event"])
def test_what_is_too_much_to_tell_apart_is_counted(call: str) -> None:
    alerts = board()
    for number in range(TRACKED + 7):
        getattr(alerts, call)("x", str(number), "text", 0.0)
    report = alerts.take(5.0)
    assert report is not None
    assert len(report.began) + len(report.happened) == TRACKED
    assert report.left_out == 7


def test_names_and_texts_are_bounded() -> None:
    alerts = board()
    alerts.begin("k" * 10_000, "p" * 10_000, "t" * 10_000, 0.0)
    assert alerts.end("k" * 10_000, "p" * 10_000, "t" * 10_000, 1.0)
    report = alerts.take(5.0)
    assert report is not None
    (problem,) = report.ended
    assert (len(problem.kind), len(problem.place), len(problem.text)) == (200, 200, 2000)


class Step(NamedTuple):
    what: str
    place: str
    wait: float


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(["begin", "end", "event"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([0.0, 0.1, 1.0, 4.0, 60.0, 1000.0, 5000.0]),
    ),
    max_size=60,
)


class Reader:
    """Knows what the mails say and nothing else."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.happened: dict[str, int] = {}
        self.mails: list[float] = []

    def read(self, report: Report) -> None:
        assert report.began or report.ended or report.happened or report.lasting or report.left_out
        assert {problem.place for problem in report.lasting} <= self.open
        for problem in report.began:
            assert problem.place not in self.open, "told twice"
            self.open.add(problem.place)
        for problem in report.ended:
            self.open.discard(problem.place)
        for happening in report.happened:
            self.happened[happening.place] = self.happened.get(happening.place, 0) + happening.times
        self.mails.append(report.at)

    def follow(self, alerts: Board, now: float, until: float) -> None:
        """Read every mail that is due up to a time."""
        while (due := alerts.due(now)) is not None and due <= until:
            now = max(now, due)
            report = alerts.take(now)
            assert report is not None, "what is due is there to be taken"
            self.read(report)


@given(steps, st.integers(1, 5))
def test_the_reader_knows_what_is_open_and_is_never_flooded(taken: list[Step], per_hour: int) -> None:
    alerts, reader, now = board(per_hour), Reader(), 0.0
    opened: set[str] = set()
    happened: dict[str, int] = {}
    for step in taken:
        reader.follow(alerts, now, now + step.wait)
        now += step.wait
        if step.what == "event":
            alerts.event("x", step.place, "", now)
            happened[step.place] = happened.get(step.place, 0) + 1
        elif step.what == "begin":
            alerts.begin("x", step.place, "", now)
            opened.add(step.place)
        else:
            alerts.end("x", step.place, "", now)
            opened.discard(step.place)
    # The news that are left are told within the gathering, a digest interval and what the budget takes to fill.
    reader.follow(alerts, now, now + PACE.gather + PACE.digest_interval + 3600 / per_hour)
    assert reader.open == opened
    assert reader.happened == happened
    hours = (reader.mails[-1] - reader.mails[0]) / 3600 if reader.mails else 0.0
    assert len(reader.mails) <= per_hour * (1 + hours) + 1e-6
    if not opened:
        assert alerts.due(now + 2 * (PACE.digest_interval + 3600.0)) is None


def after_a_restart(earlier: Board, now: float, per_hour: int = 10) -> Board:
    later = board(per_hour)
    later.restore(json.loads(json.dumps(earlier.save())), now)
    return later


def test_what_an_earlier_process_told_of_is_over_when_it_is_not_met_again() -> None:
    earlier = board()
    earlier.begin("source", "orders", "refused", 0.0)
    earlier.take(5.0)
    later = after_a_restart(earlier, 100.0)
    due = later.due(100.0)
    assert due == 100.0 + DOUBT + PACE.gather
    assert later.take(due - 1) is None
    report = later.take(due)
    assert places(report, "ended") == ["orders"]
    assert report is not None
    (over,) = report.ended
    assert (over.since, over.until) == (0.0, 100.0 + DOUBT)
    assert "refused" in over.text
    assert later.save() == []


def test_what_an_earlier_process_told_of_and_is_met_again_is_no_news() -> None:
    earlier = board()
    earlier.begin("source", "orders", "refused", 0.0)
    earlier.take(5.0)
    later = after_a_restart(earlier, 100.0)
    later.begin("source", "orders", "refused", 130.0)
    assert later.take(100.0 + 2 * DOUBT) is None
    later.end("source", "orders", "answers", 2000.0)
    assert places(later.take(2005.0), "ended") == ["orders"]


def test_what_begins_while_the_earlier_is_still_being_read_is_told_once() -> None:
    earlier = board()
    earlier.begin("source", "orders", "refused", 0.0)
    earlier.take(5.0)
    later = board()
    later.begin("source", "orders", "refused", 100.0)
    later.restore(earlier.save(), 100.1)
    assert later.take(200.0) is None


def test_what_was_not_told_is_not_taken_over() -> None:
    earlier = board()
    earlier.begin("source", "orders", "refused", 0.0)
    assert after_a_restart(earlier, 1.0).due(1.0) is None


junk = st.recursive(
    st.none() | st.floats() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.tuples(inner)
)


@given(st.lists(st.tuples(st.text(), st.text(), st.text(), st.floats()) | junk) | junk)
def test_whatever_was_saved_every_problem_comes_to_an_end(saved: object) -> None:
    alerts, reader = board(), Reader()
    alerts.restore(saved, 1000.0)
    reader.open = {place for _, place, *_ in alerts.save()}
    reader.follow(alerts, 1000.0, 1000.0 + DOUBT + PACE.gather)
    assert reader.open == set()
    assert alerts.due(5000.0) is None
