"""What is to be told, and when: sans-I/O, the time is passed in.

A reader of the mails knows, after every mail, exactly which problems are open: each was told when it began, and is
told when it ends. Between two mails anything may happen; what a mail tells is the difference.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from shared.alerts.budget import Budget

DOUBT = 600.0
"""Seconds within which a problem that an earlier process told of has to be met again, or it counts as over: twice what
any part of Trelay takes to find out that something is away."""

TRACKED = 1000
"""Problems, and events, that are told apart; beyond, they are only counted. Somebody may fail under many names."""

_NAME_LIMIT, _TEXT_LIMIT = 200, 2000


class Pace(NamedTuple):
    """How soon and how often to tell, in seconds; see `AlertOptions`."""

    gather: float
    digest_interval: float


@dataclass(slots=True)
class Problem:
    """Something that began, and may have ended."""

    kind: str
    place: str
    text: str
    since: float
    times: int = 1
    """How often it was said to begin since it first did."""
    until: float | None = None
    told: bool = False
    """Whether a mail has said that it began."""
    doubted: float | None = None
    """Since when it is not known whether it lasts: an earlier process told of it."""


@dataclass(slots=True)
class Happening:
    """Something that happens at a moment, any number of times."""

    kind: str
    place: str
    text: str
    first: float
    last: float
    times: int = 1
    """Since it was told last."""
    told_at: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What one mail tells."""

    at: float
    began: list[Problem] = field(default_factory=list)
    ended: list[Problem] = field(default_factory=list)
    """Those that a mail had told of, and those that came and went in between."""
    happened: list[Happening] = field(default_factory=list)
    lasting: list[Problem] = field(default_factory=list)
    """Told before and still open."""
    left_out: int = 0
    """Beginnings and events that were only counted."""


class Board:
    """Gathers news until a mail is due. Its methods return whether the time of the next mail may have changed."""

    def __init__(self, pace: Pace, budget: Budget, now: float) -> None:
        self._pace = pace
        self._budget = budget
        self._problems: dict[tuple[str, str], Problem] = {}
        self._happenings: dict[tuple[str, str], Happening] = {}
        self._left_out = 0
        self._left_out_since = now
        self._last_mail = now

    def begin(self, kind: str, place: str, text: str, now: float) -> bool:
        """A problem begins, or begins again."""
        key = _key(kind, place)
        problem = self._problems.get(key)
        if problem is None and len(self._problems) >= TRACKED:
            return self._leave_out(now)
        if problem is None:
            self._problems[key] = Problem(*key, text[:_TEXT_LIMIT], now)
            return True
        # One that ended and is not told so yet is simply still open: the reader need not know.
        changed = problem.until is not None
        problem.until = problem.doubted = None
        problem.times += 1
        problem.text = text[:_TEXT_LIMIT]
        return changed

    def end(self, kind: str, place: str, text: str, now: float) -> bool:
        """A problem is over; one that is not known to have begun is passed over."""
        problem = self._problems.get(_key(kind, place))
        if problem is None or problem.until is not None:
            return False
        problem.until, problem.doubted = now, None
        problem.text = text[:_TEXT_LIMIT] or problem.text
        return True

    def event(self, kind: str, place: str, text: str, now: float) -> bool:
        """Something happens that neither lasts nor ends."""
        key = _key(kind, place)
        happening = self._happenings.get(key)
        if happening is None and len(self._happenings) >= TRACKED:
            return self._leave_out(now)
        if happening is None:
            self._happenings[key] = Happening(*key, text[:_TEXT_LIMIT], first=now, last=now)
            return True
        first = happening.times == 0
        happening.first = now if first else happening.first
        happening.times += 1
        happening.last = now
        happening.text = text[:_TEXT_LIMIT]
        return first

    def save(self) -> list[tuple[str, str, str, float]]:
        """Return what a later process needs to tell the end of what this one has told of."""
        told = [problem for problem in self._problems.values() if problem.told and problem.until is None]
        return [(problem.kind, problem.place, problem.text[:_NAME_LIMIT], problem.since) for problem in told]

    def restore(self, saved: object, now: float) -> None:
        """Take over what an earlier process has told of: over if it is not met again in time.

        What is no such thing, or lies in the future, is passed over.
        """
        for entry in saved[:TRACKED] if isinstance(saved, list) else ():
            match entry:
                case [str(kind), str(place), str(text), float(since)] if 0 <= since <= now:
                    key = _key(kind, place)
                    known = self._problems.setdefault(key, Problem(*key, text[:_TEXT_LIMIT], since, doubted=now))
                    known.told, known.since = True, since

    def due(self, now: float) -> float | None:
        """Return when the next mail is due, given that nothing else happens; None if never."""
        wanted = min((*self._news(), *self._reminders()), default=None)
        return None if wanted is None else max(wanted, self._budget.ready_at(now))

    def take(self, now: float, *, hurry: bool = False) -> Report | None:
        """Return what is to be mailed now, None if nothing is. In a hurry, news do not gather any longer."""
        self._settle_doubts(now)
        due = self.due(now)
        if hurry and due is not None and any(True for _ in self._news()):
            due = self._budget.ready_at(now)
        if due is None or due > now:
            return None
        self._budget.spend(now)
        problems = list(self._problems.values())
        report = Report(
            at=now,
            began=[problem for problem in problems if problem.until is None and not problem.told],
            ended=[problem for problem in problems if problem.until is not None],
            happened=[replace(happening) for happening in self._happenings.values() if happening.times],
            lasting=[problem for problem in problems if problem.until is None and problem.told],
            left_out=self._left_out,
        )
        self._told(report)
        return report

    def _news(self) -> Iterator[float]:
        """When each piece of news will have gathered long enough."""
        gather = self._pace.gather
        for problem in self._problems.values():
            if not problem.told:
                yield problem.since + gather
            elif problem.until is not None:
                yield problem.until + gather
            elif problem.doubted is not None:
                yield problem.doubted + DOUBT + gather
        for happening in self._happenings.values():
            if happening.times and happening.told_at is None:
                yield happening.first + gather
        if self._left_out:
            yield self._left_out_since + gather

    def _reminders(self) -> Iterator[float]:
        """When to speak again of what lasts, and of what was told and happened again."""
        interval = self._pace.digest_interval
        if any(problem.told and problem.until is None for problem in self._problems.values()):
            yield self._last_mail + interval
        for happening in self._happenings.values():
            if happening.times and happening.told_at is not None:
                yield happening.told_at + interval

    def _settle_doubts(self, now: float) -> None:
        for problem in self._problems.values():
            over = None if problem.doubted is None else problem.doubted + DOUBT
            if over is not None and over <= now:
                self.end(problem.kind, problem.place, f"not met again since a restart; it was: {problem.text}", over)

    def _told(self, report: Report) -> None:
        now = report.at
        self._problems = {key: problem for key, problem in self._problems.items() if problem.until is None}
        for problem in report.began:
            problem.told = True
        for key, happening in list(self._happenings.items()):
            if happening.times:
                happening.times, happening.told_at = 0, now
            elif happening.told_at is not None and happening.told_at + self._pace.digest_interval <= now:
                del self._happenings[key]  # quiet for so long: the next time is news again
        self._left_out = 0
        self._last_mail = now

    def _leave_out(self, now: float) -> bool:
        self._left_out += 1
        if self._left_out == 1:
            self._left_out_since = now
        return self._left_out == 1


def _key(kind: str, place: str) -> tuple[str, str]:
    return kind[:_NAME_LIMIT], place[:_NAME_LIMIT]
