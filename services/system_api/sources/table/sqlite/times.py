"""Times in tables of SQLite: numbers since 1970 in any unit, Julian days, or text in ISO 8601."""

import re
from datetime import UTC, datetime, tzinfo

from services.system_api.sources.table.time_scale import PER_SECOND, TimeUnit, float_of, order_of
from shared.errors import SettingsError
from shared.runtime.clock import rfc3339

_UNITS = ((10**11, 1), (10**14, 10**3), (10**17, 10**6))
"""Limits below which a number counts seconds, milliseconds or microseconds; above them, nanoseconds."""

_DAY = 86_400
_JULIAN_1970 = 2_440_587.5
_JULIAN_LIMIT = 10**7
"""Real numbers below this are Julian days, as SQLite's `julianday` returns them: seconds would be those of 1970."""

_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?")
_DATE_LENGTH = 10


class Numbers:
    """Numbers since 1970, or Julian days. The order values are the integers, or those of `order_of`."""

    def __init__(self, unit: TimeUnit | None = None, *, floating: bool = False) -> None:
        """Without a unit, the size of the numbers tells."""
        self._per_second = None if unit is None else PER_SECOND[unit]
        self._floating = floating

    def written(self, seconds: float, like: float) -> int:
        """Return the order value of seconds since 1970 in the unit of `like`, a value of the column, rounded down."""
        if not self._floating:
            return int(seconds * self._unit(like))
        if self._is_julian(like):
            return order_of(seconds / _DAY + _JULIAN_1970)
        return order_of(seconds * self._unit(like))

    def rfc3339(self, order: int) -> bytes | None:
        """Return the time as RFC 3339; None if the number is not one of a time."""
        value = float_of(order) if self._floating else order
        try:
            seconds = (value - _JULIAN_1970) * _DAY if self._is_julian(value) else value / self._unit(value)
            return rfc3339(seconds).encode()
        except (ValueError, OverflowError):
            return None

    def text(self, order: int) -> str:
        """Return an order value for the id of an event."""
        return f"{float_of(order)!r}" if self._floating else f"{order}"

    def _is_julian(self, value: float) -> bool:
        return self._floating and self._per_second is None and abs(value) < _JULIAN_LIMIT

    def _unit(self, value: float) -> int:
        if self._per_second is not None:
            return self._per_second
        return next((unit for limit, unit in _UNITS if abs(value) < limit), 10**9)


class Texts:
    """Text that sorts like the times in it: all in one format and one zone."""

    def __init__(self, column: str, zone: tzinfo = UTC) -> None:
        self._column = column
        self._zone = zone

    @staticmethod
    def is_date(value: str) -> bool:
        """Return whether a value is a date without a time."""
        return len(value) == _DATE_LENGTH

    def written(self, local: datetime, like: str) -> str:
        """Format a local time like a value of the column, rounded down."""
        if self.is_date(like):
            return local.date().isoformat()
        return local.replace(microsecond=0).isoformat(sep=like[10])

    def parsed(self, value: str) -> datetime:
        """Return the local time of a value.

        Raises:
            SettingsError: that value is not a time.
        """
        found = _ISO.match(value)
        try:
            if found is not None:
                return datetime.fromisoformat(found[0])
        except ValueError:
            pass
        raise SettingsError(
            f"updated_at_column: column {self._column!r} holds {value[:40]!r};"
            " expected times like '2026-01-31 12:34:56'"
        )

    def rfc3339(self, value: str) -> bytes | None:
        """Return the time as RFC 3339; None if the value is not a time."""
        try:
            there = datetime.fromisoformat(value)
            return rfc3339((there if there.tzinfo else there.replace(tzinfo=self._zone)).timestamp()).encode()
        except (ValueError, OverflowError):
            return None
