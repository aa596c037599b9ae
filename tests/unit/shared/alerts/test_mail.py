from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.alerts.board import Happening, Problem, Report
from shared.alerts.mail import compose, subject

NOW = 1_767_323_045.0
HOSTILE = "demo\r\nBcc: all@example.com\r\n\r\nforged body\x1b[31m\u2028\ud800"


def composed(report: Report) -> EmailMessage:
    mail = compose(
        report,
        name="trelay test",
        sender="trelay@example.com",
        recipients=["a@example.com", "b@example.com"],
        identity="1f",
    )
    assert b"\n" not in mail.replace(b"\r\n", b""), "lines end as SMTP wants"
    return message_from_bytes(mail, policy=default)


def text(report: Report) -> str:
    return str(composed(report).get_content()).replace("\r\n", "\n")


def problem(place: str = "orders", said: str = "connection refused", **more: float | None) -> Problem:
    found = Problem("source", place, said, NOW - 3700)
    for name, value in more.items():
        setattr(found, name, value)
    return found


def test_one_problem_is_a_mail_that_needs_no_opening() -> None:
    message = composed(Report(NOW, began=[problem()]))
    assert message["Subject"] == "[trelay test] source orders: connection refused"
    assert message["From"] == "trelay@example.com"
    assert message["To"] == "a@example.com, b@example.com"
    assert message["Date"] == "Fri, 02 Jan 2026 03:04:05 +0000"
    assert message["Message-ID"] == "<1f@example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"


def test_the_body_is_grouped_by_kind_and_place() -> None:
    report = Report(
        NOW,
        began=[problem("rates"), problem("orders", times=3)],
        ended=[problem("stock", "answers again", until=NOW - 10)],
        happened=[
            Happening("consumer sends", "client demo", "12 bytes", NOW - 5, NOW - 5),
            Happening("consumer sends", "client hasty", "1 byte", NOW - 9, NOW - 1, times=7),
        ],
        lasting=[Problem("bus", "kafka", "no leader", NOW - 100_000)],
        left_out=2,
    )
    assert (
        text(report)
        == """\
Began
  source
    orders: connection refused
      since 2026-01-02 02:02:25 UTC, for 1 h 1 min, begun 3 times
    rates: connection refused
      since 2026-01-02 02:02:25 UTC, for 1 h 1 min

Over
  source
    stock: answers again
      from 2026-01-02 02:02:25 UTC to 2026-01-02 03:03:55 UTC, 1 h 1 min

Happened
  consumer sends
    client demo: 12 bytes
      at 2026-01-02 03:04:00 UTC
    client hasty: 1 byte
      7 times, from 2026-01-02 03:03:56 UTC to 2026-01-02 03:04:04 UTC

Still open
  bus
    kafka: no leader
      since 2025-12-31 23:17:25 UTC, for 1 d 3 h

2 more that were not told apart; the log has them.
"""
    )
    assert subject(report) == "2 begun, 1 over, 2 happened, 1 still open"


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (Report(NOW, ended=[problem(until=NOW)]), "over: source orders: connection refused"),
        (Report(NOW, lasting=[problem(), problem("b")]), "2 still open"),
        (Report(NOW, left_out=3), "3 more"),
        (Report(NOW, began=[problem()], left_out=3), "1 begun"),
    ],
)
def test_the_subject_says_what_is_new(report: Report, expected: str) -> None:
    assert subject(report) == expected


def test_a_crowd_of_one_kind_is_listed_in_part() -> None:
    body = text(Report(NOW, began=[problem(f"s{number:03d}") for number in range(60)]))
    assert "s049" in body
    assert "s050" not in body
    assert "    and 10 more of source\n" in body


def test_what_lasted_no_time_says_so() -> None:
    assert ", 0 s" in text(Report(NOW, ended=[problem(since=NOW, until=NOW)]))


@pytest.mark.parametrize("report", [Report(NOW, began=[problem(HOSTILE)]), Report(NOW, began=[problem(said=HOSTILE)])])
def test_a_hostile_name_adds_no_header_and_no_line(report: Report) -> None:
    message = composed(report)
    assert set(message.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted",
        "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
    }  # fmt: skip
    assert len(text(report).splitlines()) == 5
    assert "\x1b" not in text(report)


def test_secrets_are_struck_out() -> None:
    message = composed(Report(NOW, began=[problem(said="postgresql://u:hunter2@db token=hunter2")]))
    assert "hunter2" not in message.as_string()
    assert "hunter2" not in text(Report(NOW, began=[problem(said="postgresql://u:hunter2@db token=hunter2")]))


@given(st.text(), st.text(), st.text())
def test_any_text_makes_a_mail_of_as_many_lines(kind: str, place: str, said: str) -> None:
    report = Report(NOW, began=[Problem(kind, place, said, NOW)])
    assert len(text(report).split("\n")) == 6
    assert len(composed(report).keys()) == 9
