"""What an operator asks of a source, and what came of it. No I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from services.system_api.sources.capabilities import Place
from shared.errors import Malformed
from shared.runtime.clock import parse_time

_EXPECTED = (
    'expected "beginning", "end", {"time": "2026-01-31T12:00:00Z"} or {"position": {…}} as GET /sources shows it'
)


class Command(StrEnum):
    """What the owner of a source carries out once."""

    REWIND = "rewind"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class Request:
    """Something that the owner of a source carries out once. Times are seconds since 1970."""

    generation: int
    """Grows with each request for the source. It is in milliseconds since 1970, so that it grows also where the store
    was lost or restored, while a checkpoint on the bus has the generation of an earlier request."""
    command: Command
    place: str | None
    """For `REWIND`: where to, as JSON."""
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request."""

    generation: int
    error: str | None
    """Why nothing was changed; None if it was done."""
    result: Mapping[str, Any]
    """What it changed, for people."""
    at: float


@dataclass(frozen=True, slots=True)
class Control:
    """What operators ask of one source."""

    paused: bool = False
    reason: str = ""
    """Why it is paused, as the operator wrote it."""
    by: str = ""
    """Who paused or resumed it last."""
    at: float | None = None
    polls: int = 0
    """How often a poll was asked for."""
    request: Request | None = None
    """The newest one; an older one that was not carried out yet is replaced."""
    outcome: Outcome | None = None
    """Of the newest request that is over."""

    @property
    def pending(self) -> Request | None:
        """The request that is still to be carried out."""
        done = 0 if self.outcome is None else self.outcome.generation
        return self.request if self.request is not None and self.request.generation > done else None

    def settled(self, outcome: Outcome) -> "Control":
        """Return this with the outcome of its request."""
        newer = self.outcome is not None and self.outcome.generation > outcome.generation
        return self if newer else replace(self, outcome=outcome)


def parse_place(given: object) -> Place:
    """Return the place that an operator names; see `Place`.

    Raises:
        Malformed: it is none, and what was expected.
    """
    match given:
        case "beginning" | "end":
            return given
        case {"time": str(text), **rest} if not rest:
            return parse_time("to.time", text)
        case {"position": dict(parts), **rest} if not rest and parts:
            return {_text(part): _text(value).encode() for part, value in parts.items()}
        case _:
            raise Malformed(f"to: found {json.dumps(given)[:200]}; {_EXPECTED}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Malformed(f"to.position: found {json.dumps(value)[:60]}; expected text, as GET /sources shows it")
    return value
