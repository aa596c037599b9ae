"""The state of alerts after a restart: what an earlier process reported, ends or goes on."""

import json

from hypothesis import given
from hypothesis import strategies as st

from shared.alerts.state import CONFIRM_TIMEOUT, AlertState
from tests.unit.shared.alerts.mails import INTERVALS, Reader, places, state

junk = st.recursive(
    st.none() | st.floats() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.tuples(inner)
)


def after_a_restart(earlier: AlertState, now: float, per_hour: int = 10) -> AlertState:
    later = state(per_hour)
    later.restore(json.loads(json.dumps(earlier.save())), now)
    return later


def test_a_problem_that_an_earlier_process_reported_ends_when_it_does_not_begin_again() -> None:
    earlier = state()
    earlier.begin("source", "orders", "refused", 0.0)
    earlier.take(5.0)
    later = after_a_restart(earlier, 100.0)
    due = later.due(100.0)
    assert due == 100.0 + CONFIRM_TIMEOUT + INTERVALS.group_wait
    assert later.take(due - 1) is None
    mail = later.take(due)
    assert places(mail, "ended") == ["orders"]
    assert mail is not None
    (ended,) = mail.ended
    assert (ended.started_at, ended.ended_at) == (0.0, 100.0 + CONFIRM_TIMEOUT)
    assert "refused" in ended.text
    assert later.save() == []


def test_a_problem_that_an_earlier_process_reported_and_begins_again_is_ongoing() -> None:
    earlier = state()
    earlier.begin("source", "orders", "refused", 0.0)
    earlier.take(5.0)
    later = after_a_restart(earlier, 100.0)
    later.begin("source", "orders", "refused", 130.0)
    assert later.take(100.0 + 2 * CONFIRM_TIMEOUT) is None
    later.end("source", "orders", "answers", 2000.0)
    assert places(later.take(2005.0), "ended") == ["orders"]


def test_a_problem_that_begins_before_the_state_is_restored_is_reported_once() -> None:
    earlier = state()
    earlier.begin("source", "orders", "refused", 0.0)
    earlier.take(5.0)
    later = state()
    later.begin("source", "orders", "refused", 100.0)
    later.restore(earlier.save(), 100.1)
    assert later.take(200.0) is None


def test_a_problem_that_no_mail_reported_is_not_restored() -> None:
    earlier = state()
    earlier.begin("source", "orders", "refused", 0.0)
    assert after_a_restart(earlier, 1.0).due(1.0) is None


@given(st.lists(st.tuples(st.text(), st.text(), st.text(), st.floats()) | junk) | junk)
def test_every_restored_problem_ends_after_any_saved_state(saved: object) -> None:
    alerts, reader = state(), Reader()
    alerts.restore(saved, 1000.0)
    reader.open = {place for _, place, *_ in alerts.save()}
    reader.follow(alerts, 1000.0, 1000.0 + CONFIRM_TIMEOUT + INTERVALS.group_wait)
    assert reader.open == set()
    assert alerts.due(5000.0) is None
