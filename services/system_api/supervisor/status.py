"""What is known of one source, for operators; and when people must hear of it. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """What a source is doing."""

    STANDBY = "standby"
    """Another replica drives it, or is about to."""
    BLOCKED = "blocked"
    """Our own bus or database does not answer; the upstream is not at fault."""
    OPENING = "opening"
    READING = "reading"
    RETRYING = "retrying"
    """The upstream did not answer, and the retry policy is not spent."""
    DOWN = "down"
    """The policy is spent; the upstream is probed for ever."""
    FAULTY = "faulty"
    """It failed in a way that retrying does not mend: a bug, or settings that cannot work. Built anew after a pause."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people must hear: a problem that has begun, or one that is over."""

    begun: bool
    text: str


@dataclass(slots=True)
class Condition:
    """The state of one source. Times are seconds since 1970.

    An outage lasts from the moment it is told of until the source works again: however often the source is opened,
    retried or built anew in between, it is told once and ended once.
    """

    name: str
    since: float
    """When the state was entered."""
    state: State = State.STANDBY
    error: str | None = None
    """The last error, until the source works again."""
    failures: int = 0
    """In a row, since the source last worked."""
    polled_at: float | None = None
    caught_up_at: float | None = None
    """When a poll last found that nothing more was waiting: everything older has been published."""
    partly: tuple[str, ...] = ()
    """What is wrong with parts of the source (a file, say) while the rest goes on."""
    position: dict[str, str] = field(default_factory=dict)
    """The checkpoint that was committed last, by part, as text."""
    _outage: bool = False

    def enter(self, state: State, now: float, error: str | None = None) -> None:
        """Note what the source does from now on."""
        if state is not self.state:
            self.state, self.since = state, now
        if error is not None:
            self.error = error

    def opening(self, now: float) -> None:
        """Note that the source is being opened; one that is down stays so until it answers."""
        if self.failures == 0 and not self._outage:
            self.enter(State.OPENING, now)

    def retrying(self, error: str, now: float) -> None:
        """Note that the upstream did not answer."""
        self.failures += 1
        self.enter(State.DOWN if self._outage else State.RETRYING, now, error)

    def down(self, error: str, now: float) -> Notice | None:
        """Note that the retry policy is spent."""
        return self._broken(State.DOWN, error, now, f"source {self.name} is down: {error}")

    def faulty(self, error: str, now: float) -> Notice | None:
        """Note that the source failed in a way that is not its upstream's absence."""
        self.failures += 1
        return self._broken(State.FAULTY, error, now, f"source {self.name} failed and is built anew: {error}")

    def progressed(self, now: float, *, caught_up: bool) -> Notice | None:
        """Note that a poll succeeded and what it found is on its way; whatever was wrong is over."""
        self.enter(State.READING, now)
        self.polled_at = now
        if caught_up:
            self.caught_up_at = now
        self.failures, self.error = 0, None
        return self._over(f"source {self.name} works again")

    def standby(self, now: float) -> Notice | None:
        """Note that the source is not ours, or not any more; an outage is its next owner's to tell."""
        self.enter(State.STANDBY, now)
        return self._over(f"source {self.name} is driven by another replica now")

    def in_part(self, problem: tuple[str, ...]) -> Notice | None:
        """Note what is wrong with parts of the source; return what is news in that."""
        before, self.partly = self.partly, problem
        if problem and not before:
            return Notice(begun=True, text=f"source {self.name} goes on without a part of it: {'; '.join(problem)}")
        if before and not problem:
            return Notice(begun=False, text=f"source {self.name} has all its parts again")
        return None

    def saved(self, checkpoint: Mapping[str, bytes | None]) -> None:
        """Note the parts of a checkpoint that was committed; None forgets a part."""
        for part, value in checkpoint.items():
            if value is None:
                self.position.pop(part, None)
            else:
                self.position[part] = value.decode(errors="replace")

    def _broken(self, state: State, error: str, now: float, text: str) -> Notice | None:
        self.enter(state, now, error)
        first, self._outage = not self._outage, True
        return Notice(begun=True, text=text) if first else None

    def _over(self, text: str) -> Notice | None:
        was, self._outage = self._outage, False
        return Notice(begun=False, text=text) if was else None
