"""How long a partition is held by a step that waits for something, and when it is tried again. Sans-I/O."""

from services.process_api.pipeline.steps.outcome import Blocked

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0
"""Seconds between two attempts: so long at most is an event late once the other system answers again."""


class Hold:
    """The hold of one partition. All times are in monotonic seconds."""

    def __init__(self) -> None:
        self._blocked: Blocked | None = None
        self._counted_until = 0.0
        self._attempts = 0

    def begin(self, blocked: Blocked, now: float) -> None:
        """Note that a step still waits, or begins to."""
        if self._blocked is None:
            self._counted_until = now
        self._blocked = blocked
        self._attempts += 1

    def end(self) -> None:
        """Note that the event has passed."""
        self._blocked = None
        self._attempts = 0

    def passed(self, now: float) -> tuple[Blocked, float] | None:
        """Return what holds the partition, and the seconds since the last call or the beginning; None for nothing."""
        if self._blocked is None:
            return None
        seconds, self._counted_until = now - self._counted_until, now
        return self._blocked, seconds

    def wait(self, roll: float) -> float:
        """Return the seconds until the next attempt; `roll` in [0, 1) keeps partitions and replicas apart."""
        ceiling = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(self._attempts - 1, 16))
        return ceiling * (1 + roll) / 2
