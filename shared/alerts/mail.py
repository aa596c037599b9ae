"""A notification as a mail: plain text, grouped by kind and place, safe against hostile names.

Places are often client ids or file names. None can add a header or a line, and text that looks like a secret is
redacted.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from shared.alerts.state import Notification, Occurrence, Problem
from shared.runtime.redaction import one_line, redact

_SUBJECT_LIMIT = 150
_LISTED = 50
"""Entries of one kind that are listed; the others are only counted."""


def compose(notification: Notification, *, name: str, sender: str, recipients: Sequence[str], identity: str) -> bytes:
    """Return the bytes of one mail; `identity` is unique and becomes the left part of the Message-ID."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Subject"] = _safe(f"[{name}] {subject(notification)}")[:_SUBJECT_LIMIT]
    message["Date"] = format_datetime(datetime.fromtimestamp(notification.at, UTC))
    message["Message-ID"] = f"<{identity}@{sender.rpartition('@')[2]}>"
    # RFC 3834: no automatic replies, such as vacation notices.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join(_lines(notification)) + "\n", cte="quoted-printable")
    return message.as_bytes()


def subject(notification: Notification) -> str:
    """Return the only change in full, or the number of changes of each sort."""
    changes: list[Problem | Occurrence] = [*notification.began, *notification.ended, *notification.occurred]
    if len(changes) == 1 and not notification.omitted:
        (only,) = changes
        return f"{_prefix(only)}{only.kind} {only.place}: {only.text}"
    counts = [
        f"{len(found)} {label}"
        for found, label in (
            (notification.began, "new"),
            (notification.ended, "resolved"),
            (notification.occurred, "occurred"),
            (notification.ongoing, "ongoing"),
        )
        if found
    ]
    return ", ".join(counts) or f"{notification.omitted} more"


def _prefix(change: Problem | Occurrence) -> str:
    return "resolved: " if isinstance(change, Problem) and change.ended_at is not None else ""


def _lines(notification: Notification) -> Iterator[str]:
    yield from _section("New", notification.began, notification.at)
    yield from _section("Resolved", notification.ended, notification.at)
    yield from _section("Occurred", notification.occurred, notification.at)
    yield from _section("Ongoing", notification.ongoing, notification.at)
    if notification.omitted:
        yield f"{notification.omitted} more are not listed; see the log."


def _section(title: str, found: Sequence[Problem | Occurrence], now: float) -> Iterator[str]:
    if not found:
        return
    yield title
    listed: Counter[str] = Counter()
    for entry in sorted(found, key=lambda entry: (entry.kind, entry.place)):
        listed[entry.kind] += 1
        if listed[entry.kind] == 1:
            yield f"  {_safe(entry.kind)}"
        if listed[entry.kind] <= _LISTED:
            yield f"    {_safe(entry.place)}: {_safe(entry.text)}"
            yield f"      {_when(entry, now)}"
    for kind, count in listed.items():
        if count > _LISTED:
            yield f"    and {count - _LISTED} more of {_safe(kind)}"
    yield ""


def _when(entry: Problem | Occurrence, now: float) -> str:
    if isinstance(entry, Occurrence):
        if entry.times == 1:
            return f"at {_time(entry.last_at)}"
        return f"{entry.times} times, from {_time(entry.first_at)} to {_time(entry.last_at)}"
    if entry.ended_at is None:
        span = f"since {_time(entry.started_at)}, for {_duration(now - entry.started_at)}"
    else:
        duration = _duration(entry.ended_at - entry.started_at)
        span = f"from {_time(entry.started_at)} to {_time(entry.ended_at)}, {duration}"
    return span if entry.times == 1 else f"{span}, began {entry.times} times"


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
    # A lone surrogate, which JSON can contain, cannot be encoded.
    return one_line(redact(text.encode(errors="replace").decode()))
