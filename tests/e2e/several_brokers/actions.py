"""What was done to a deployment, and when; and how long subscribers got nothing after it."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from time import monotonic

_BEGINS_WITHIN = 1.0
"""Seconds after an action in which a pause without events counts as caused by it."""


@dataclass
class Action:
    """Something done to one part, from its beginning to its end."""

    phase: str
    part: str
    kind: str
    target: str
    began: float
    ended: float | None = None


@dataclass
class ActionLog:
    """Every action of a run."""

    began: float = field(default_factory=monotonic)
    phase: str = ""
    actions: list[Action] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Add a line, with the seconds of the run and the time of day in UTC, as the logs have it."""
        now = datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]
        self.lines.append(f"{monotonic() - self.began:8.2f}  {now}  {text}")

    @contextmanager
    def during(self, part: str, kind: str, target: str) -> Iterator[None]:
        """Note an action that lasts as long as the context."""
        action = Action(self.phase, part, kind, target, monotonic())
        self.actions.append(action)
        self.say(f"{kind} {target}")
        try:
            yield
        finally:
            action.ended = monotonic()
            self.say(f"{kind} {target} is over after {action.ended - action.began:.2f} s")

    def counts(self) -> dict[str, int]:
        """Return how often each kind of action was done to each kind of part."""
        return dict(sorted(Counter(f"{action.part} {action.kind}" for action in self.actions).items()))

    def times(self, phase: str, part: str, kind: str) -> list[float]:
        """Return when actions began."""
        return [
            action.began for action in self.actions if (action.phase, action.part, action.kind) == (phase, part, kind)
        ]


def silence_after(at: float, arrivals: Sequence[float]) -> float:
    """Return the longest time without events that begins within a second of `at`, or was under way then."""
    first = max(0, bisect_right(arrivals, at) - 1)
    last = bisect_right(arrivals, at + _BEGINS_WITHIN)
    return max(
        (arrivals[index + 1] - arrivals[index] for index in range(first, min(last, len(arrivals) - 1))), default=0
    )


def longest_silence(began: float, ended: float, arrivals: Sequence[float]) -> float:
    """Return the longest time without events between two moments."""
    moments = [began, *(at for at in arrivals if began < at < ended), ended]
    return max(after - before for before, after in pairwise(moments))


def described(silences: Sequence[float]) -> str:
    """Return the figures of silences, in seconds."""
    if not silences:
        return "none"
    return f"p50 {median(silences):.2f} s, max {max(silences):.2f} s of {len(silences)}"
