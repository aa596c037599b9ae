"""How many of a crowd begin in one turn of the event loop, so that other work has its turn in between. Sans-I/O."""

_LEAST = 4
_MOST = 200
_PER_SECOND = 500.0
_GAP = 1.0
"""Seconds after which those that come are another crowd."""


class CrowdShare:
    """The share of a crowd in the event loop; each of them takes a fraction of a millisecond.

    A few begin in each turn. Where turns are long because of other work, more of them do: a crowd that connects beside
    much traffic would otherwise be admitted the more slowly, the more of it are connected.
    """

    def __init__(self) -> None:
        self._before: float | None = None

    def of_turn(self, now: float) -> int:
        """Return how many may begin in the turn that has just begun; `now` is in the loop's monotonic seconds."""
        before, self._before = self._before, now
        if before is None or now - before > _GAP:
            return _LEAST
        return min(_LEAST + int((now - before) * _PER_SECOND), _MOST)
