"""A report as a mail: grouped by kind and place, in plain text, with nothing in it that a stranger can steer.

Places are often client ids or file names. None of it can add a header or a line, and what looks like a secret is
struck out.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from shared.alerts.board import Happening, Problem, Report
from shared.runtime.redaction import one_line, redact

_SUBJECT_LIMIT = 150
_LISTED = 50
"""Entries of one kind that are listed; of more, only the number is told."""


def compose(report: Report, *, name: str, sender: str, recipients: Sequence[str], identity: str) -> bytes:
    """Write a report as the bytes of one mail; `identity` is unique and becomes the left part of the Message-ID."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Subject"] = _safe(f"[{name}] {subject(report)}")[:_SUBJECT_LIMIT]
    message["Date"] = format_datetime(datetime.fromtimestamp(report.at, UTC))
    message["Message-ID"] = f"<{identity}@{sender.rpartition('@')[2]}>"
    # RFC 3834: no holiday notices in answer to this.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join(_lines(report)) + "\n", cte="quoted-printable")
    return message.as_bytes()


def subject(report: Report) -> str:
    """Say in one line what is new: the one thing in full, of several how many."""
    news: list[Problem | Happening] = [*report.began, *report.ended, *report.happened]
    if len(news) == 1 and not report.left_out:
        (only,) = news
        return f"{_verb(only)}{only.kind} {only.place}: {only.text}"
    counts = [
        f"{len(found)} {said}"
        for found, said in (
            (report.began, "begun"),
            (report.ended, "over"),
            (report.happened, "happened"),
            (report.lasting, "still open"),
        )
        if found
    ]
    return ", ".join(counts) or f"{report.left_out} more"


def _verb(news: Problem | Happening) -> str:
    return "over: " if isinstance(news, Problem) and news.until is not None else ""


def _lines(report: Report) -> Iterator[str]:
    yield from _section("Began", report.began, report.at)
    yield from _section("Over", report.ended, report.at)
    yield from _section("Happened", report.happened, report.at)
    yield from _section("Still open", report.lasting, report.at)
    if report.left_out:
        yield f"{report.left_out} more that were not told apart; the log has them."


def _section(title: str, found: Sequence[Problem | Happening], now: float) -> Iterator[str]:
    if not found:
        return
    yield title
    listed: Counter[str] = Counter()
    for news in sorted(found, key=lambda news: (news.kind, news.place)):
        listed[news.kind] += 1
        if listed[news.kind] == 1:
            yield f"  {_safe(news.kind)}"
        if listed[news.kind] <= _LISTED:
            yield f"    {_safe(news.place)}: {_safe(news.text)}"
            yield f"      {_when(news, now)}"
    for kind, count in listed.items():
        if count > _LISTED:
            yield f"    and {count - _LISTED} more of {_safe(kind)}"
    yield ""


def _when(news: Problem | Happening, now: float) -> str:
    if isinstance(news, Happening):
        if news.times == 1:
            return f"at {_time(news.last)}"
        return f"{news.times} times, from {_time(news.first)} to {_time(news.last)}"
    if news.until is None:
        said = f"since {_time(news.since)}, for {_duration(now - news.since)}"
    else:
        said = f"from {_time(news.since)} to {_time(news.until)}, {_duration(news.until - news.since)}"
    return said if news.times == 1 else f"{said}, begun {news.times} times"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [
        f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")) if count
    ]
    return " ".join(parts[:2]) or "0 s"


def _safe(text: str) -> str:
    # A lone surrogate, which JSON can smuggle in, cannot be sent.
    return one_line(redact(text.encode(errors="replace").decode()))
