"""Times in numbers since 1970 and in text. Sans-I/O."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal, TypeAlias

from shared.errors import Malformed

TimeUnit: TypeAlias = Literal["seconds", "milliseconds", "microseconds", "nanoseconds", "rfc3339"]

_DIGITS = {"seconds": 0, "milliseconds": 3, "microseconds": 6, "nanoseconds": 9}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LIMIT = 253_402_300_800
"""Seconds from 1970 to the year 10000."""
_LARGEST_EXPONENT = 24
"""Of a number that may be below the limit in any unit: others are not scaled, which could take hours."""
_RFC3339 = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,9})\d*)?(?P<zone>[Zz]|[+-]\d\d:\d\d)"
)


def converted(value: object, source: TimeUnit, target: TimeUnit) -> int | Decimal | str:
    """Return a time in another form; a fraction of a second is kept up to nanoseconds.

    Raises:
        Malformed: it is no time of the form `source`, or not before the year 10000.
    """
    nanoseconds = _nanoseconds(value, source)
    if target == "rfc3339":
        return _text(nanoseconds)
    whole, rest = divmod(nanoseconds, 10 ** (9 - _DIGITS[target]))
    return whole if not rest else (Decimal(nanoseconds).scaleb(_DIGITS[target] - 9)).normalize()


def _nanoseconds(value: object, source: TimeUnit) -> int:
    if source == "rfc3339":
        found = _RFC3339.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise Malformed(f"found {str(value)[:80]!r}; expected a time such as 2026-01-02T03:04:05Z")
        try:
            zone = found["zone"].upper().replace("Z", "+00:00")
            at = datetime.fromisoformat(f"{found['date']}T{found['time']}{zone}")
            seconds = round((at - _EPOCH) / timedelta(seconds=1))
        except (ValueError, OverflowError) as exc:
            raise Malformed(f"found {value!r}; {exc}") from exc
        return seconds * 10**9 + int((found["fraction"] or "").ljust(9, "0"))
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Malformed(f"found {str(value)[:80]!r}; expected a number of {source} since 1970")
    number = Decimal(str(value))
    if number.adjusted() > _LARGEST_EXPONENT or abs(number.scaleb(-_DIGITS[source])) >= _LIMIT:
        raise Malformed(f"found {str(value)[:80]}; expected {source} since 1970, before the year 10000")
    return int(number.scaleb(9 - _DIGITS[source]))


def _text(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    try:
        at = _EPOCH + timedelta(seconds=seconds)
    except OverflowError as exc:
        raise Malformed("the time is out of the range of the years 1 to 9999") from exc
    fraction = f".{rest:09d}".rstrip("0").ljust(4, "0") if rest else ""
    return f"{at.replace(tzinfo=None).isoformat()}{fraction}Z"
