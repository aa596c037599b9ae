"""What the rows tell of the clock behind a column of times without time zone. Times are in microseconds.

The settings name the zone of the column, and they may be wrong. If rows are written with times that are behind those of
that zone, a bound from the server's clock is too high, and these rows would be missed. The latest time in the column
is a bound as well, in any zone: what is written later has a later time. The lower of the two is always right.
"""

_SECOND = 1_000_000
_QUARTER = 900 * _SECOND
"""Zones differ by quarters of an hour."""
_FALL_BACK = 3600 * _SECOND
"""By how much an unknown zone may set its clocks back."""
_LOWEST = -13 * 3600 * _SECOND
"""No zone is further behind UTC."""
_SLACK = 2 * _SECOND
_LONGEST_GAP = 60 * _SECOND
"""Longer between two observations, and the time of a row says little about when it was written."""
_EVIDENCE = 3
"""Observations in a row that show the same difference."""


class LocalClock:
    """The clock of one column."""

    def __init__(self) -> None:
        self._offset = _LOWEST
        """Lower bound of the column's clock less UTC."""
        self._latest: int | None = None
        self._observed: int | None = None
        self._quarters = 0
        self._evidence = 0

    def observe(self, latest: int | None, utc: int, expected: int) -> None:
        """Note the latest time in the column, the server's clock in UTC, and what that is in the zone of the settings.

        All three must be of one moment.
        """
        if latest is not None:
            self._offset = max(self._offset, latest - utc)
            if latest != self._latest and self._observed is not None and utc - self._observed <= _LONGEST_GAP:
                self._compare(expected - latest, utc - self._observed)
        self._latest, self._observed = latest, utc

    @property
    def behind(self) -> int | None:
        """By how much the times of new rows are behind the zone of the settings; negative: ahead. None if they fit."""
        return self._quarters * _QUARTER if self._evidence >= _EVIDENCE else None

    def problem(self, zone: str) -> str | None:
        """Return what is wrong with the zone of the settings; None if the rows fit it."""
        if self.behind is None:
            return None
        hours, minutes = divmod(abs(self.behind) // _SECOND // 60, 60)
        side = "behind" if self.behind > 0 else "ahead of"
        return (
            f"rows that were just written have times {hours} h {minutes:02} min {side} those of `time_zone` ({zone}):"
            " set it to the zone of the applications"
        )

    def bound(self, utc: int) -> int:
        """Return a lower bound of the times that are written from a moment on."""
        # The zone of the rows is not that of the settings, so it is not known when its clocks are set back.
        return utc + max(_LOWEST, self._offset - (_FALL_BACK if self.behind else 0))

    def _compare(self, behind: int, gap: int) -> None:
        """Compare the time of a row that was written in the last `gap` with the clock."""
        quarters, rest = divmod(behind + _SLACK, _QUARTER)
        if rest > gap + 2 * _SLACK:
            quarters = 0
        self._evidence = self._evidence + 1 if quarters == self._quarters and quarters else int(quarters != 0)
        self._quarters = quarters
