"""Which problems are open, and what the next mail reports and when. Sans-I/O: the time is passed in.

Somebody who reads every mail knows after each which problems are open: a mail reports when a problem begins, and one
reports when it ends. A mail reports the difference to the previous one, whatever happened in between.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from shared.alerts.budget import Budget

CONFIRM_TIMEOUT = 600.0
"""Seconds within which a problem that an earlier process reported must begin again; otherwise it counts as ended. Twice
what any part of Trelay takes to detect that something is unavailable."""

MAX_TRACKED = 1000
"""Problems, and occurrences, that are distinguished; more are only counted. One client may fail under many names."""

_NAME_LIMIT, _TEXT_LIMIT = 200, 2000


MAX_FLAPS = 5
"""The most times `resolve_wait` that the end of a problem waits, however often it came back."""


class Intervals(NamedTuple):
    """How soon and how often to notify, in seconds, as Alertmanager names it; see `AlertOptions`."""

    group_wait: float
    repeat_interval: float
    resolve_wait: float = 0.0


@dataclass(slots=True)
class Problem:
    """Something that begins, lasts and ends."""

    kind: str
    place: str
    text: str
    started_at: float
    times: int = 1
    """How often it began since `started_at`."""
    flaps: int = 0
    """How often it began again after it had ended."""
    ended_at: float | None = None
    end_text: str = ""
    notified: bool = False
    """Whether a mail reported its beginning."""
    unconfirmed_since: float | None = None
    """Since when it is unknown whether it lasts: an earlier process reported it."""


@dataclass(slots=True)
class Occurrence:
    """Something that happens at a moment, any number of times."""

    kind: str
    place: str
    text: str
    first_at: float
    last_at: float
    times: int = 1
    """Since the last mail that reported it."""
    notified_at: float | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """The content of one mail."""

    at: float
    began: list[Problem] = field(default_factory=list)
    ended: list[Problem] = field(default_factory=list)
    """Those whose beginning was reported, and those that began and ended since the last mail."""
    occurred: list[Occurrence] = field(default_factory=list)
    ongoing: list[Problem] = field(default_factory=list)
    """Reported earlier and still open."""
    omitted: int = 0
    """Problems and occurrences that were only counted."""


class AlertState:
    """Groups changes until a mail is due. `begin`, `end` and `event` return whether the next due time may change."""

    def __init__(self, intervals: Intervals, budget: Budget, now: float) -> None:
        self._intervals = intervals
        self._budget = budget
        self._problems: dict[tuple[str, str], Problem] = {}
        self._occurrences: dict[tuple[str, str], Occurrence] = {}
        self._handed_over: set[tuple[str, str]] = set()
        self._omitted = 0
        self._omitted_since = now
        self._last_mail_at = now

    def begin(self, kind: str, place: str, text: str, now: float) -> bool:
        """A problem begins, or begins again."""
        key = _key(kind, place)
        problem = self._problems.get(key)
        if problem is None and len(self._problems) >= MAX_TRACKED:
            return self._omit(now)
        if problem is None:
            self._problems[key] = Problem(*key, text[:_TEXT_LIMIT], now)
            return True
        # A problem whose end no mail has reported yet is simply still open.
        changed = problem.ended_at is not None
        problem.flaps += changed
        problem.ended_at = problem.unconfirmed_since = None
        problem.times += 1
        problem.text = text[:_TEXT_LIMIT]
        return changed

    def end(self, kind: str, place: str, text: str, now: float) -> bool:
        """A problem ends; nothing happens where it is not open."""
        problem = self._problems.get(_key(kind, place))
        if problem is None or problem.ended_at is not None:
            return False
        problem.ended_at, problem.unconfirmed_since = now, None
        problem.end_text = text[:_TEXT_LIMIT]
        return True

    def reported(self, kind: str, place: str) -> bool:
        """Return whether a mail has reported the beginning of a problem that is open."""
        problem = self._problems.get(_key(kind, place))
        return problem is not None and problem.notified

    def adopt(self, kind: str, place: str, text: str, started_at: float) -> None:
        """A problem lasts whose beginning another process has reported."""
        key = _key(kind, place)
        problem = self._problems.setdefault(key, Problem(*key, text[:_TEXT_LIMIT], started_at))
        problem.notified, problem.started_at = True, min(problem.started_at, started_at)
        problem.ended_at = problem.unconfirmed_since = None

    def hand_over(self, kind: str, place: str) -> None:
        """Forget a problem, one as well that is restored later: another process reports it."""
        key = _key(kind, place)
        self._problems.pop(key, None)
        self._handed_over.add(key)

    def event(self, kind: str, place: str, text: str, now: float) -> bool:
        """Something happens that neither lasts nor ends."""
        key = _key(kind, place)
        occurrence = self._occurrences.get(key)
        if occurrence is None and len(self._occurrences) >= MAX_TRACKED:
            return self._omit(now)
        if occurrence is None:
            self._occurrences[key] = Occurrence(*key, text[:_TEXT_LIMIT], first_at=now, last_at=now)
            return True
        first = occurrence.times == 0
        occurrence.first_at = now if first else occurrence.first_at
        occurrence.times += 1
        occurrence.last_at = now
        occurrence.text = text[:_TEXT_LIMIT]
        return first

    def save(self) -> list[tuple[str, str, str, float]]:
        """Return what a later process needs to report the end of the problems that this one reported."""
        open_ = [problem for problem in self._problems.values() if problem.notified]
        return [(problem.kind, problem.place, problem.text[:_NAME_LIMIT], problem.started_at) for problem in open_]

    def restore(self, saved: object, now: float) -> None:
        """Take over the problems that an earlier process reported; see `CONFIRM_TIMEOUT`.

        Ignores entries that are malformed or lie in the future.
        """
        for entry in saved[:MAX_TRACKED] if isinstance(saved, list) else ():
            match entry:
                case [str(kind), str(place), str(text), float(started_at)] if 0 <= started_at <= now:
                    key = _key(kind, place)
                    if key in self._handed_over:
                        continue
                    restored = Problem(*key, text[:_TEXT_LIMIT], started_at, unconfirmed_since=now)
                    known = self._problems.setdefault(key, restored)
                    known.notified, known.started_at = True, started_at

    def due(self, now: float) -> float | None:
        """Return when the next mail is due if nothing else happens; None if never."""
        wanted = min((*self._changes_due(), *self._repeats_due()), default=None)
        return None if wanted is None else max(wanted, self._budget.ready_at(now))

    def take(self, now: float, *, flush: bool = False) -> Notification | None:
        """Return the mail that is due now, None if none is. With `flush`, changes do not wait for `group_wait`."""
        self._end_unconfirmed(now)
        due = self.due(now)
        calm_at = float("inf") if flush else now
        if flush and due is not None and any(True for _ in self._changes_due()):
            due = self._budget.ready_at(now)
        if due is None or due > now:
            return None
        self._budget.spend(now)
        over = {key: problem for key, problem in self._problems.items() if self._is_over(problem, calm_at)}
        for key in over:
            del self._problems[key]
        lasting = self._problems.values()
        notification = Notification(
            at=now,
            began=[problem for problem in lasting if problem.ended_at is None and not problem.notified],
            ended=[replace(problem, text=problem.end_text or problem.text) for problem in over.values()],
            occurred=[replace(occurrence) for occurrence in self._occurrences.values() if occurrence.times],
            # One that has ended is over only if it does not begin again for a while.
            ongoing=[replace(problem, ended_at=None) for problem in lasting if problem.notified],
            omitted=self._omitted,
        )
        self._mark_notified(notification)
        return notification

    def _changes_due(self) -> Iterator[float]:
        """When each change will have waited for `group_wait`."""
        wait = self._intervals.group_wait
        for problem in self._problems.values():
            calm_at = 0.0 if problem.ended_at is None else self._calm_at(problem, problem.ended_at)
            if not problem.notified:
                yield max(problem.started_at + wait, calm_at)
            elif problem.ended_at is not None:
                yield calm_at + wait
            elif problem.unconfirmed_since is not None:
                yield problem.unconfirmed_since + CONFIRM_TIMEOUT + wait
        for occurrence in self._occurrences.values():
            if occurrence.times and occurrence.notified_at is None:
                yield occurrence.first_at + wait
        if self._omitted:
            yield self._omitted_since + wait

    def _repeats_due(self) -> Iterator[float]:
        """When to report again what lasts, and what occurred again."""
        interval = self._intervals.repeat_interval
        if any(problem.notified for problem in self._problems.values()):
            yield self._last_mail_at + interval
        for occurrence in self._occurrences.values():
            if occurrence.times and occurrence.notified_at is not None:
                yield occurrence.notified_at + interval

    def _calm_at(self, problem: Problem, ended_at: float) -> float:
        """Return when a problem that ended then is over, unless it begins again: later, the more often it began."""
        return ended_at + self._intervals.resolve_wait * min(problem.flaps + 1, MAX_FLAPS)

    def _is_over(self, problem: Problem, now: float) -> bool:
        return problem.ended_at is not None and self._calm_at(problem, problem.ended_at) <= now

    def _end_unconfirmed(self, now: float) -> None:
        for problem in self._problems.values():
            until = None if problem.unconfirmed_since is None else problem.unconfirmed_since + CONFIRM_TIMEOUT
            if until is not None and until <= now:
                self.end(problem.kind, problem.place, f"not seen again since a restart; it was: {problem.text}", until)

    def _mark_notified(self, notification: Notification) -> None:
        now = notification.at
        for problem in notification.began:
            problem.notified = True
        for key, occurrence in list(self._occurrences.items()):
            if occurrence.times:
                occurrence.times, occurrence.notified_at = 0, now
            elif occurrence.notified_at is not None and occurrence.notified_at + self._intervals.repeat_interval <= now:
                del self._occurrences[key]  # quiet for so long: the next one is reported at once again
        self._omitted = 0
        self._last_mail_at = now

    def _omit(self, now: float) -> bool:
        self._omitted += 1
        if self._omitted == 1:
            self._omitted_since = now
        return self._omitted == 1


def _key(kind: str, place: str) -> tuple[str, str]:
    return kind[:_NAME_LIMIT], place[:_NAME_LIMIT]
