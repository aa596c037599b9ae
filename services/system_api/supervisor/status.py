"""The status of one source, and which changes of it need an alert. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """What a source is doing."""

    STANDBY = "standby"
    """Another replica runs it, or is about to."""
    BLOCKED = "blocked"
    """Trelay's own bus or database is unavailable; the upstream is not at fault."""
    OPENING = "opening"
    READING = "reading"
    RETRYING = "retrying"
    """The upstream is unavailable, and the retry policy is not exhausted."""
    DOWN = "down"
    """The retry policy is exhausted; the upstream is probed until it answers."""
    FAILED = "failed"
    """It failed in a way that a retry does not fix: a bug, or settings that cannot work. Restarted after a pause."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A change that needs an alert: a problem has begun, or is over."""

    begun: bool
    text: str


@dataclass(slots=True)
class SourceStatus:
    """The status of one source. Times are seconds since 1970.

    An outage begins with its alert and lasts until the source works again: however often the source is opened,
    retried or restarted meanwhile, it has one notice at its beginning and one at its end.
    """

    name: str
    since: float
    """When the state was entered."""
    state: State = State.STANDBY
    error: str | None = None
    """The last error, until the source works again."""
    failures: int = 0
    """Consecutive failures since the source last worked."""
    polled_at: float | None = None
    caught_up_at: float | None = None
    """When a poll last found that nothing more was waiting: everything older has been published."""
    problems: tuple[str, ...] = ()
    """What is wrong with parts of the source (a file, for example) while the other parts are read."""
    waiting: tuple[str, ...] = ()
    """What was seen upstream and cannot be published yet, each with the reason."""
    position: dict[str, str] = field(default_factory=dict)
    """The checkpoint that was committed last, by part, as text."""
    _outage: bool = False

    def enter(self, state: State, now: float, error: str | None = None) -> None:
        """Enter a state; an error replaces the last one."""
        if state is not self.state:
            self.state, self.since = state, now
        if error is not None:
            self.error = error

    def opening(self, now: float) -> None:
        """Note that the source is being opened; one that is down stays down until it answers."""
        if self.failures == 0 and not self._outage:
            self.enter(State.OPENING, now)

    def retrying(self, error: str, now: float) -> None:
        """Note that the upstream is unavailable."""
        self.failures += 1
        self.enter(State.DOWN if self._outage else State.RETRYING, now, error)

    def down(self, error: str, now: float) -> Notice | None:
        """Note that the retry policy is exhausted."""
        return self._begin_outage(State.DOWN, error, now, f"source {self.name} is down: {error}")

    def failed(self, error: str, now: float) -> Notice | None:
        """Note that the source failed for another reason than an unavailable upstream."""
        self.failures += 1
        return self._begin_outage(State.FAILED, error, now, f"source {self.name} failed and is restarted: {error}")

    def progressed(self, now: float, *, caught_up: bool) -> Notice | None:
        """Note that a poll succeeded and its result is being committed: the source works."""
        self.enter(State.READING, now)
        self.polled_at = now
        if caught_up:
            self.caught_up_at = now
        self.failures, self.error = 0, None
        return self._end_outage(f"source {self.name} recovered")

    def standby(self, now: float) -> Notice | None:
        """Note that another replica owns the source; from now on that replica reports its outages."""
        self.enter(State.STANDBY, now)
        return self._end_outage(f"source {self.name} now runs on another replica")

    def note_problems(self, problems: tuple[str, ...]) -> Notice | None:
        """Note what is wrong with parts of the source; return a notice when the first begins or the last is over."""
        before, self.problems = self.problems, problems
        if problems and not before:
            return Notice(begun=True, text=f"source {self.name} is degraded: {'; '.join(problems)}")
        if before and not problems:
            return Notice(begun=False, text=f"source {self.name} is no longer degraded")
        return None

    def committed(self, checkpoint: Mapping[str, bytes | None]) -> None:
        """Note the parts of a checkpoint that was committed; None removes a part."""
        for part, value in checkpoint.items():
            if value is None:
                self.position.pop(part, None)
            else:
                self.position[part] = value.decode(errors="replace")

    def _begin_outage(self, state: State, error: str, now: float, text: str) -> Notice | None:
        self.enter(state, now, error)
        first, self._outage = not self._outage, True
        return Notice(begun=True, text=text) if first else None

    def _end_outage(self, text: str) -> Notice | None:
        was, self._outage = self._outage, False
        return Notice(begun=False, text=text) if was else None
