"""When mails are due, and what they mail."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.alerts.state import MAX_TRACKED, Intervals
from tests.unit.shared.alerts.mails import CALM, INTERVALS, Reader, places, state


def test_without_changes_no_mail_is_due() -> None:
    assert state().due(100.0) is None
    assert state().take(100.0) is None


def test_a_problem_is_reported_after_group_wait_and_again_when_it_ends() -> None:
    alerts = state()
    assert alerts.begin("source", "orders", "refused", 10.0)
    assert alerts.due(10.0) == 15.0
    assert alerts.take(14.9) is None
    assert places(alerts.take(15.0), "began") == ["orders"]
    assert alerts.end("source", "orders", "answers again", 100.0)
    mail = alerts.take(105.0)
    assert places(mail, "ended") == ["orders"]
    assert mail is not None
    assert (mail.ended[0].started_at, mail.ended[0].ended_at, mail.ended[0].text) == (
        10.0,
        100.0,
        "answers again",
    )
    assert alerts.due(105.0) is None


def test_problems_that_begin_together_share_a_mail() -> None:
    alerts = state()
    for number in range(50):
        alerts.begin("source", f"s{number}", "refused", 10.0 + number / 100)
    assert len(places(alerts.take(15.0), "began")) == 50


def test_a_problem_that_lasts_is_reported_again_every_repeat_interval() -> None:
    alerts = state()
    alerts.begin("source", "orders", "refused", 0.0)
    alerts.take(5.0)
    assert alerts.due(6.0) == 3605.0
    assert places(alerts.take(3605.0), "ongoing") == ["orders"]
    assert alerts.due(3605.0) == 7205.0


def test_every_mail_lists_the_ongoing_problems() -> None:
    alerts = state()
    alerts.begin("source", "orders", "refused", 0.0)
    alerts.take(5.0)
    alerts.begin("source", "rates", "refused", 1000.0)
    mail = alerts.take(1005.0)
    assert places(mail, "began") == ["rates"]
    assert places(mail, "ongoing") == ["orders"]
    assert alerts.due(1005.0) == 4605.0


def test_a_problem_that_flaps_between_two_mails_is_not_reported_early() -> None:
    alerts = state()
    alerts.begin("source", "orders", "refused", 0.0)
    alerts.take(5.0)
    for _ in range(100):
        assert alerts.end("source", "orders", "", 10.0)
        assert alerts.begin("source", "orders", "refused again", 11.0)
    assert alerts.due(11.0) == 3605.0
    mail = alerts.take(3605.0)
    assert mail is not None
    assert (mail.ongoing[0].times, mail.ongoing[0].text) == (101, "refused again")


def test_a_problem_that_began_and_ended_before_the_mail_is_reported_as_ended() -> None:
    alerts = state()
    alerts.begin("source", "orders", "refused", 0.0)
    alerts.end("source", "orders", "", 1.0)
    mail = alerts.take(5.0)
    assert places(mail, "ended") == ["orders"]
    assert places(mail, "began") == []


def test_the_end_of_a_problem_that_is_not_open_is_ignored() -> None:
    alerts = state()
    assert not alerts.end("source", "orders", "", 0.0)
    alerts.begin("source", "orders", "x", 0.0)
    assert alerts.end("source", "orders", "", 1.0)
    assert not alerts.end("source", "orders", "", 2.0)


def test_a_problem_that_begins_again_and_again_is_one_mail() -> None:
    alerts = state()
    assert alerts.begin("source", "orders", "refused", 0.0)
    assert not any(alerts.begin("source", "orders", "refused", float(second)) for second in range(1, 5))
    alerts.take(5.0)
    assert alerts.due(5.0) == 3605.0


def test_the_first_event_of_a_place_is_reported_and_the_next_are_counted() -> None:
    alerts = state()
    assert alerts.event("consumer sends", "demo", "12 bytes", 0.0)
    assert places(alerts.take(5.0), "occurred") == ["demo"]
    assert alerts.due(5.0) is None
    assert alerts.event("consumer sends", "demo", "1 byte", 10.0)
    assert not any(alerts.event("consumer sends", "demo", f"{n} bytes", 10.0 + n) for n in range(1, 100))
    assert alerts.due(200.0) == 3605.0
    mail = alerts.take(3605.0)
    assert mail is not None
    (occurred,) = mail.occurred
    assert (occurred.times, occurred.first_at, occurred.last_at, occurred.text) == (100, 10.0, 109.0, "99 bytes")


def test_an_event_after_a_quiet_repeat_interval_is_reported_at_once() -> None:
    alerts = state()
    alerts.event("consumer sends", "demo", "x", 0.0)
    alerts.take(5.0)
    alerts.begin("source", "orders", "refused", 4000.0)
    alerts.take(4005.0)
    alerts.event("consumer sends", "demo", "x", 4010.0)
    assert alerts.due(4010.0) == 4015.0


def test_beyond_the_mails_of_an_hour_changes_wait_and_are_not_lost() -> None:
    alerts = state(per_hour=2)
    for number in range(2):
        alerts.event("x", str(number), "", 10.0 * number)
        assert alerts.take(10.0 * number + 5.0) is not None
    alerts.event("x", "2", "", 20.0)
    assert alerts.take(25.0) is None
    due = alerts.due(25.0)
    assert due is not None
    assert due == pytest.approx(5.0 + 1800.0)
    alerts.event("x", "3", "", 100.0)
    assert places(alerts.take(due), "occurred") == ["2", "3"]


def test_a_flush_skips_group_wait_and_keeps_the_budget() -> None:
    alerts = state(per_hour=1)
    assert alerts.take(0.0, flush=True) is None
    alerts.begin("source", "orders", "refused", 0.0)
    assert places(alerts.take(0.0, flush=True), "began") == ["orders"]
    alerts.begin("source", "rates", "refused", 0.0)
    assert alerts.take(1.0, flush=True) is None


def test_a_flush_does_not_repeat_ongoing_problems() -> None:
    alerts = state()
    alerts.begin("source", "orders", "refused", 0.0)
    alerts.take(5.0)
    assert alerts.take(6.0, flush=True) is None


@pytest.mark.parametrize("call", ["begin", "event"])
def test_problems_and_events_beyond_the_tracked_ones_are_counted(call: str) -> None:
    alerts = state()
    for number in range(MAX_TRACKED + 7):
        getattr(alerts, call)("x", str(number), "text", 0.0)
    mail = alerts.take(5.0)
    assert mail is not None
    assert len(mail.began) + len(mail.occurred) == MAX_TRACKED
    assert mail.omitted == 7


def test_names_and_texts_are_bounded() -> None:
    alerts = state()
    alerts.begin("k" * 10_000, "p" * 10_000, "t" * 10_000, 0.0)
    assert alerts.end("k" * 10_000, "p" * 10_000, "t" * 10_000, 1.0)
    mail = alerts.take(5.0)
    assert mail is not None
    (problem,) = mail.ended
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


@given(steps, st.integers(1, 5), st.sampled_from([INTERVALS, CALM]))
def test_the_reader_of_all_mails_knows_what_is_open_and_is_never_flooded(
    taken: list[Step], per_hour: int, intervals: Intervals
) -> None:
    alerts, reader, now = state(per_hour, intervals), Reader(), 0.0
    opened: set[str] = set()
    occurred: dict[str, int] = {}
    for step in taken:
        reader.follow(alerts, now, now + step.wait)
        now += step.wait
        if step.what == "event":
            alerts.event("x", step.place, "", now)
            occurred[step.place] = occurred.get(step.place, 0) + 1
        elif step.what == "begin":
            alerts.begin("x", step.place, "", now)
            opened.add(step.place)
        else:
            alerts.end("x", step.place, "", now)
            opened.discard(step.place)
    # The changes that are left are reported within both intervals and the time that the budget takes to fill.
    reader.follow(alerts, now, now + INTERVALS.group_wait + INTERVALS.repeat_interval + 3600 / per_hour)
    assert reader.open == opened
    assert reader.occurred == occurred
    hours = (reader.mails[-1] - reader.mails[0]) / 3600 if reader.mails else 0.0
    assert len(reader.mails) <= per_hour * (1 + hours) + 1e-6
    if not opened:
        assert alerts.due(now + 2 * (INTERVALS.repeat_interval + 3600.0)) is None
