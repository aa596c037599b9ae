"""Is this poller still getting somewhere? What it began and has not ended within its bound has stalled. No I/O."""

from dataclasses import dataclass
from enum import StrEnum


class Activity(StrEnum):
    """What a poller may be doing when it stalls."""

    CONNECTING = "opening the writer and reading the checkpoint"
    OPENING = "opening the source"
    POLLING = "a poll"
    PUBLISHING = "publishing a batch"
    SETTLING = "settling a batch"

    @property
    def ours(self) -> bool:
        """Whether our own bus is asked here, and no upstream."""
        return self in {Activity.CONNECTING, Activity.PUBLISHING}


@dataclass(slots=True)
class Watch:
    """Told what a poller does, and asked whether it has taken too long. Times are of a monotonic clock."""

    bound: float
    """Seconds one activity may take."""
    activity: Activity | None = None
    """What was begun and has not ended; None while the poller rests on purpose."""
    _began: float = 0.0

    def begin(self, activity: Activity, now: float) -> None:
        """Note what is done from now on."""
        self.activity = activity
        self._began = now

    def rest(self) -> None:
        """Note that the poller waits on purpose: nothing can stall."""
        self.activity = None

    def stalled(self, now: float) -> Activity | None:
        """Return what has taken longer than the bound."""
        return self.activity if self.activity is not None and now - self._began > self.bound else None
