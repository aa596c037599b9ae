"""The answers about a hop, and the conclusion of them all. Sans-I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from services.experience_api.explain.search import Found

DELIVERY = "delivery"
MORE = "more records of the event are published than were looked at, and none of these is of the client's channels"


class Answer(StrEnum):
    """Whether an event has passed a hop."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    """It does not take this hop."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop, and what is known of it."""

    name: str
    answer: Answer
    text: str
    """One sentence."""
    todo: str = ""
    """What to do about it; empty if nothing."""
    at: int | None = None
    """When, in milliseconds since 1970."""
    evidence: dict[str, Any] = field(default_factory=dict)

    def view(self) -> dict[str, Any]:
        """Return it as JSON."""
        at = None if self.at is None else time_text(self.at)
        found = {"hop": self.name, "answer": self.answer.value, "text": self.text, "at": at}
        return {**found, "evidence": self.evidence}


def conclude(hops: Sequence[Hop]) -> dict[str, Any]:
    """Return the conclusion: of the first hop that the event did not pass, or that is not known, or of the last one.

    An event that was delivered has passed all of them, whatever holds now.
    """
    stopped = (hop for hop in hops if hop.answer in {Answer.NO, Answer.UNKNOWN})
    decisive = hops[-1] if hops[-1].answer is Answer.YES else next(stopped, hops[-1])
    return {"answer": decisive.answer.value, "hop": decisive.name, "text": decisive.text, "todo": decisive.todo}


def time_text(milliseconds: int) -> str:
    """Return a time in RFC 3339, in UTC."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def place(found: Found) -> dict[str, Any]:
    """Return where a record is, as evidence."""
    return {"partition": found.partition, "offset": found.offset, "at": time_text(found.at)}
