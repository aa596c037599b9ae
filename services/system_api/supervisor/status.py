"""The status of one source, and which changes of it need an alert. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.system_api.operations.checkpoints import OwnPart
from services.system_api.supervisor.part_problems import PartNotice, PartProblems


class State(StrEnum):
    """What a source is doing."""

    STANDBY = "standby"
    """Another replica runs it, or is about to."""
    BLOCKED = "blocked"
    """Trelay's own bus or database is unavailable; the upstream is not at fault."""
    STARTING = "starting"
    """It is being opened."""
    RUNNING = "running"
    DEGRADED = "degraded"
    """It runs, and something is wrong with a part of it: a file that cannot be read, for example."""
    RETRYING = "retrying"
    """It does not work, and the retry policy is not exhausted."""
    DOWN = "down"
    """The retry policy is exhausted, or it failed in a way that a retry does not fix; it is tried until it works."""
    PAUSED = "paused"
    """An operator paused it."""


UNHEALTHY = frozenset({State.BLOCKED, State.RETRYING, State.DOWN})
"""The states whose reason is in `SourceStatus.error`."""


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
    per_second: tuple[float, float] = (0.0, 0.0)
    """Events and rejects a second, over the last minute."""
    own: OwnPart = field(default_factory=OwnPart)
    """What is committed of this source in all: counts, and the newest request that was carried out."""
    epoch: int | None = None
    """Of the lease that this replica holds on the source; None while it holds none."""
    reported: bool = True
    """Whether all that is wrong has been reported to people."""
    outage_since: float | None = None
    """When the outage began that has an alert; None while there is none."""
    _parts: PartProblems = field(default_factory=PartProblems)

    def enter(self, state: State, now: float, error: str | None = None) -> None:
        """Enter a state; an error replaces the last one."""
        if state is not self.state:
            self.state, self.since = state, now
        if error is not None:
            self.error = error

    def starting(self, now: float) -> None:
        """Note that the source is being opened; one that does not work stays in its state until it does."""
        if self.failures == 0 and self.outage_since is None:
            self.enter(State.STARTING, now)
            self.error = None

    def retrying(self, error: str, now: float) -> None:
        """Note that the upstream is unavailable."""
        self.failures += 1
        self.enter(State.RETRYING if self.outage_since is None else State.DOWN, now, error)

    def down(self, error: str, now: float) -> Notice | None:
        """Note that the retry policy is exhausted."""
        self.failures += 1
        text = f"down: {error} (tried {self.failures} times; it is tried until it works)"
        return self._begin_outage(error, now, text)

    def failed(self, error: str, now: float) -> Notice | None:
        """Note that the source failed for another reason than an unavailable upstream."""
        self.failures += 1
        return self._begin_outage(error, now, f"failed: {error} (it is restarted until it works)")

    def progressed(self, now: float, *, caught_up: bool) -> Notice | None:
        """Note that a poll succeeded and its result is being committed: the source works."""
        self.enter(State.DEGRADED if self.problems else State.RUNNING, now)
        self.polled_at = now
        if caught_up:
            self.caught_up_at = now
        self.failures, self.error = 0, None
        return self._end_outage("works again")

    def standby(self, now: float) -> None:
        """Note that another replica owns the source; from now on that replica reports what is wrong with it."""
        self.enter(State.STANDBY, now)
        self.failures, self.error, self.outage_since, self.problems, self.waiting = 0, None, None, (), ()
        self._parts.forget()

    def adopt(self, error: str, since: float | None, problems: tuple[str, ...], now: float) -> None:
        """Take over what another replica has had notices of: an outage since `since`, and problems of parts."""
        self._parts.adopt(problems)
        self.problems = problems
        if since is not None:
            self.enter(State.DOWN, now, error)
            self.outage_since = since

    @property
    def noticed_parts(self) -> Mapping[str, str]:
        """The parts whose problems had a notice that is not over, each with what is wrong."""
        return self._parts.noticed

    def paused(self, now: float, reason: str) -> Notice | None:
        """Note that an operator has paused the source: from now on nothing is expected of it."""
        self.enter(State.PAUSED, now)
        self.failures, self.error = 0, reason or None
        return self._end_outage("paused by an operator")

    def resuming(self, own: OwnPart, checkpoint: Mapping[str, bytes]) -> None:
        """Note the checkpoint that the source resumes from."""
        self.own = own
        self.position = {part: value.decode(errors="replace") for part, value in checkpoint.items()}

    def note_problems(self, problems: tuple[str, ...]) -> list[PartNotice]:
        """Note what is wrong with parts of the source; return a notice for each problem that begins or is over."""
        notices = self._parts.note(problems)
        self.problems = self._parts.texts
        return notices

    def committed(self, checkpoint: Mapping[str, bytes | None], own: OwnPart) -> None:
        """Note the parts of a checkpoint that was committed; None removes a part."""
        self.own = own
        for part, value in checkpoint.items():
            if value is None:
                self.position.pop(part, None)
            else:
                self.position[part] = value.decode(errors="replace")

    def _begin_outage(self, error: str, now: float, text: str) -> Notice | None:
        self.enter(State.DOWN, now, error)
        if self.outage_since is not None:
            return None
        self.outage_since = now
        return Notice(begun=True, text=text)

    def _end_outage(self, text: str) -> Notice | None:
        since, self.outage_since = self.outage_since, None
        return None if since is None else Notice(begun=False, text=text)
