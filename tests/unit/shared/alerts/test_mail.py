"""How a notification becomes a mail."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.alerts.mail import compose, subject
from shared.alerts.state import Notification, Occurrence, Problem

NOW = 1_767_323_045.0
HOSTILE = "demo\r\nBcc: all@example.com\r\n\r\nforged body\x1b[31m\u2028\ud800"


def composed(notification: Notification) -> EmailMessage:
    mail = compose(
        notification,
        name="trelay test",
        sender="trelay@example.com",
        recipients=["a@example.com", "b@example.com"],
        identity="1f",
    )
    assert b"\n" not in mail.replace(b"\r\n", b""), "SMTP requires CRLF"
    return message_from_bytes(mail, policy=default)


def text(notification: Notification) -> str:
    return str(composed(notification).get_content()).replace("\r\n", "\n")


def problem(place: str = "orders", error: str = "connection refused", **more: float | None) -> Problem:
    found = Problem("source", place, error, NOW - 3700)
    for name, value in more.items():
        setattr(found, name, value)
    return found


def test_the_subject_holds_a_single_problem_in_full() -> None:
    message = composed(Notification(NOW, began=[problem()]))
    assert message["Subject"] == "[trelay test] source orders: connection refused"
    assert message["From"] == "trelay@example.com"
    assert message["To"] == "a@example.com, b@example.com"
    assert message["Date"] == "Fri, 02 Jan 2026 03:04:05 +0000"
    assert message["Message-ID"] == "<1f@example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"


def test_the_body_is_grouped_by_kind_and_place() -> None:
    notification = Notification(
        NOW,
        began=[problem("rates"), problem("orders", times=3)],
        ended=[problem("stock", "answers again", ended_at=NOW - 10)],
        occurred=[
            Occurrence("consumer sends", "client demo", "12 bytes", NOW - 5, NOW - 5),
            Occurrence("consumer sends", "client hasty", "1 byte", NOW - 9, NOW - 1, times=7),
        ],
        ongoing=[Problem("bus", "kafka", "no leader", NOW - 100_000)],
        omitted=2,
    )
    assert (
        text(notification)
        == """\
New
  source
    orders: connection refused
      since 2026-01-02 02:02:25 UTC, for 1 h 1 min, began 3 times
    rates: connection refused
      since 2026-01-02 02:02:25 UTC, for 1 h 1 min

Resolved
  source
    stock: answers again
      from 2026-01-02 02:02:25 UTC to 2026-01-02 03:03:55 UTC, 1 h 1 min

Occurred
  consumer sends
    client demo: 12 bytes
      at 2026-01-02 03:04:00 UTC
    client hasty: 1 byte
      7 times, from 2026-01-02 03:03:56 UTC to 2026-01-02 03:04:04 UTC

Ongoing
  bus
    kafka: no leader
      since 2025-12-31 23:17:25 UTC, for 1 d 3 h

2 more are not listed; see the log.
"""
    )
    assert subject(notification) == "2 new, 1 resolved, 2 occurred, 1 ongoing"


@pytest.mark.parametrize(
    ("notification", "expected"),
    [
        (Notification(NOW, ended=[problem(ended_at=NOW)]), "resolved: source orders: connection refused"),
        (Notification(NOW, ongoing=[problem(), problem("b")]), "2 ongoing"),
        (Notification(NOW, omitted=3), "3 more"),
        (Notification(NOW, began=[problem()], omitted=3), "1 new"),
    ],
)
def test_the_subject_counts_the_changes(notification: Notification, expected: str) -> None:
    assert subject(notification) == expected


def test_a_long_list_of_one_kind_is_truncated() -> None:
    body = text(Notification(NOW, began=[problem(f"s{number:03d}") for number in range(60)]))
    assert "s049" in body
    assert "s050" not in body
    assert "    and 10 more of source\n" in body


def test_a_problem_that_ended_at_once_lasted_0_s() -> None:
    assert ", 0 s" in text(Notification(NOW, ended=[problem(started_at=NOW, ended_at=NOW)]))


@pytest.mark.parametrize(
    "notification", [Notification(NOW, began=[problem(HOSTILE)]), Notification(NOW, began=[problem(error=HOSTILE)])]
)
def test_a_hostile_name_adds_no_header_and_no_line(notification: Notification) -> None:
    message = composed(notification)
    assert set(message.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted",
        "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
    }  # fmt: skip
    assert len(text(notification).splitlines()) == 5
    assert "\x1b" not in text(notification)


def test_secrets_are_redacted() -> None:
    message = composed(Notification(NOW, began=[problem(error="postgresql://u:hunter2@db token=hunter2")]))
    assert "hunter2" not in message.as_string()
    assert "hunter2" not in text(Notification(NOW, began=[problem(error="postgresql://u:hunter2@db token=hunter2")]))


@given(st.text(), st.text(), st.text())
def test_any_text_makes_a_mail_of_as_many_lines(kind: str, place: str, error: str) -> None:
    notification = Notification(NOW, began=[Problem(kind, place, error, NOW)])
    assert len(text(notification).split("\n")) == 6
    assert len(composed(notification).keys()) == 9
