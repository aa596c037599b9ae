"""A problem that comes and goes: the reader of all mails gets one at its beginning and one at its end."""

from shared.alerts.state import AlertState, Notification
from tests.unit.shared.alerts.mails import CALM, places, state


def taken_until(alerts: AlertState, now: float, until: float) -> list[Notification]:
    """Take every mail that is due up to a time."""
    mails = []
    while (due := alerts.due(now)) is not None and due <= until:
        now = max(now, due)
        mail = alerts.take(now)
        assert mail is not None
        mails.append(mail)
    return mails


def test_a_problem_that_comes_and_goes_has_one_mail_at_its_beginning_and_one_at_its_end() -> None:
    """Up for 20 s and down for 20 s, for half an hour."""
    alerts, mails = state(intervals=CALM), list[Notification]()
    now = 0.0
    while now < 1800.0:
        alerts.begin("source", "orders", "refused", now)
        mails += taken_until(alerts, now, now + 20.0)
        alerts.end("source", "orders", "answers", now + 20.0)
        mails += taken_until(alerts, now + 20.0, now + 40.0)
        now += 40.0
    mails += taken_until(alerts, now, now + 3600.0)
    assert [(len(mail.began), len(mail.ended)) for mail in mails] == [(1, 0), (0, 1)]
    (ended,) = mails[1].ended
    assert (ended.times, ended.text, ended.ended_at) == (45, "answers", 1780.0)
    assert mails[1].at == 1780.0 + 5 * 60.0 + 5.0


def test_an_end_that_is_not_certain_yet_is_still_ongoing_in_other_mails() -> None:
    alerts = state(intervals=CALM)
    alerts.begin("source", "orders", "refused", 0.0)
    alerts.take(5.0)
    alerts.end("source", "orders", "answers", 10.0)
    alerts.begin("source", "rates", "timeout", 12.0)
    mail = alerts.take(17.0)
    assert mail is not None
    assert [(problem.place, problem.text, problem.ended_at) for problem in mail.ongoing] == [
        ("orders", "refused", None)
    ]
    assert mail.ended == []
    assert places(alerts.take(75.0), "ended") == ["orders"]


def test_a_short_problem_is_one_mail_once_it_is_certainly_over() -> None:
    alerts = state(intervals=CALM)
    alerts.begin("source", "orders", "refused", 0.0)
    alerts.end("source", "orders", "answers", 1.0)
    assert alerts.take(5.0) is None
    assert alerts.due(5.0) == 61.0
    assert places(alerts.take(61.0), "ended") == ["orders"]


def test_the_last_mail_of_a_process_reports_ends_that_are_not_certain_yet() -> None:
    alerts = state(intervals=CALM)
    alerts.begin("source", "orders", "refused", 0.0)
    alerts.take(5.0)
    alerts.end("source", "orders", "answers", 10.0)
    assert len(alerts.save()) == 1, "a later process reports the end, if this one cannot"
    assert places(alerts.take(11.0, flush=True), "ended") == ["orders"]
