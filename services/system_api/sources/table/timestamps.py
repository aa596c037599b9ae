"""Converts PostgreSQL's microseconds to the time of an event."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

SINCE_1970 = 946_684_800_000_000
"""Microseconds between 1970 and 2000, where PostgreSQL starts to count."""

_FIRST = -62_135_596_800
_LAST = 253_402_300_799
"""Beginning of year 1 and end of year 9999 in seconds since 1970, the range of RFC 3339; `infinity` is outside."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def absolute() -> Callable[[int], bytes | None]:
    """Return a function from order value to RFC 3339; consecutive rows of the same second share most of the work."""
    known, text = None, b""

    def at(order: int) -> bytes | None:
        nonlocal known, text
        second, rest = divmod(order + SINCE_1970, 1_000_000)
        if second != known:
            if not _FIRST <= second <= _LAST:
                return None
            known, text = second, _to_the_second(second)
        return b"%b.%06dZ" % (text, rest)

    return at


def local(zone: tzinfo) -> Callable[[int], bytes | None]:
    """Return the same for a column without time zone whose values are in `zone`."""
    in_utc = absolute()

    def at(order: int) -> bytes | None:
        try:
            there = (_EPOCH + timedelta(microseconds=order + SINCE_1970)).replace(tzinfo=zone)
            return in_utc(order - (there.utcoffset() or timedelta()) // timedelta(microseconds=1))
        except OverflowError:
            return None

    return at


def unknown(_order: object) -> None:
    """Return None: a key holds no time."""


def _to_the_second(second: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).rjust(19, "0").encode()
