"""Detects that a run of a source has stalled: an activity that has not ended within its timeout. No I/O."""

from dataclasses import dataclass
from enum import StrEnum


class Activity(StrEnum):
    """What a run may be doing when it stalls."""

    CONNECTING = "opening the writer and reading the checkpoint"
    OPENING = "opening the source"
    POLLING = "a poll"
    PUBLISHING = "publishing a batch"
    SETTLING = "settling a batch"
    WAITING = "waiting for a change"

    @property
    def uses_bus(self) -> bool:
        """Whether this waits for Trelay's own bus, not for the upstream."""
        return self in {Activity.CONNECTING, Activity.PUBLISHING}


@dataclass(slots=True)
class Watchdog:
    """The current activity of a run, and since when. Times are of a monotonic clock."""

    timeout: float
    """Seconds that one activity may take."""
    activity: Activity | None = None
    """What has begun and has not ended; None while the run sleeps between two attempts."""
    _ends: float = 0.0

    def begin(self, activity: Activity, now: float, expected: float = 0.0) -> None:
        """Start the timer for an activity, which takes `expected` seconds if all is well."""
        self.activity = activity
        self._ends = now + expected + self.timeout

    def pause(self) -> None:
        """Stop the timer: a run that sleeps does not stall."""
        self.activity = None

    def stalled(self, now: float) -> Activity | None:
        """Return the activity that has taken longer than the timeout, and than expected."""
        return self.activity if self.activity is not None and now > self._ends else None
