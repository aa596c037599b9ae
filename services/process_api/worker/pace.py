"""How many records are run before anybody else has a turn: many, until some take long. Sans-I/O."""

MANY = 32
"""A look at the clock for so many costs nothing, and usually they take less than a millisecond."""

_SLOW = 0.25
"""Seconds for one go; the bus waits for a sign of life a few seconds long."""

_PATIENCE = 10_000
"""Records that are run one by one after a slow go. What was slow may come again, from the last commit on, and must not
be slow in one go with others once more."""


class Pace:
    """Of one stream; outlives its drives."""

    def __init__(self) -> None:
        self.slice = MANY
        """How many records are to be run in one go."""
        self._left = 0

    def ran(self, seconds: float) -> bool:
        """Note how long a go took; return whether that was slow."""
        slow = seconds > _SLOW
        if slow:
            self.slice, self._left = 1, _PATIENCE
        elif self._left:
            self._left -= 1
            self.slice = 1 if self._left else MANY
        return slow
