"""Times in tables of SQLite: integers since 1970 in any unit, or text in ISO 8601."""

import re
from datetime import UTC, datetime, tzinfo

from shared.errors import SettingsError
from shared.runtime.clock import rfc3339

_UNITS = ((10**11, 1), (10**14, 10**3), (10**17, 10**6))
"""Limits below which a number counts seconds, milliseconds or microseconds; above them, nanoseconds."""

_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?")


class Numbers:
    """Integers since 1970."""

    def written(self, seconds: float, like: int) -> int:
        """Format seconds since 1970 like a value of the column, rounded down."""
        return int(seconds * _unit(like))

    def rfc3339(self, value: int) -> bytes | None:
        """Return the time as RFC 3339."""
        return rfc3339(value / _unit(value)).encode()


class Texts:
    """Text that sorts like the times in it: all in one format and one zone."""

    def __init__(self, column: str, zone: tzinfo = UTC) -> None:
        self._column = column
        self._zone = zone

    def written(self, local: datetime, like: str) -> str:
        """Format a local time like a value of the column, rounded down."""
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


def _unit(value: int) -> int:
    return next((unit for limit, unit in _UNITS if abs(value) < limit), 10**9)
