"""How many records run before other tasks of the event loop do: many, until a slice is slow. Sans-I/O."""

FULL_SLICE = 32
"""A look at the clock for so many costs nothing, and usually they take less than a millisecond."""

_SLOW_SECONDS = 0.25
"""For one slice; the bus expects a heartbeat every few seconds."""

_SINGLE_RECORDS = 10_000
"""How many records run one by one after a slow slice. What was slow is read again from the last commit, and must not
be slow together with other records once more."""


class Pace:
    """The slice size of one stream; it outlives the runs of the partitions, so that a restart stays careful."""

    def __init__(self) -> None:
        self.slice = FULL_SLICE
        """How many records the next slice holds."""
        self._singles_left = 0

    def note(self, seconds: float) -> bool:
        """Note how long a slice took; return whether it was slow."""
        slow = seconds > _SLOW_SECONDS
        if slow:
            self.slice, self._singles_left = 1, _SINGLE_RECORDS
        elif self._singles_left:
            self._singles_left -= 1
            self.slice = 1 if self._singles_left else FULL_SLICE
        return slow
