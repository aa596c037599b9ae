"""Points in time, read to the microsecond as APIs write them. No I/O."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, NamedTuple

import msgspec

from shared.errors import Malformed

_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)
_QUOTE = b'"'[0]
_LATEST = 253_402_300_799
"""The last second of the year 9999, the last that RFC 3339 can write."""
_SHOWN = 60

_decode = msgspec.json.Decoder(Annotated[datetime, msgspec.Meta(tz=True)]).decode
_encode = msgspec.json.Encoder().encode


class Instant(NamedTuple):
    """A point in time."""

    microseconds: int
    """Since 1970."""
    text: bytes
    """In RFC 3339."""


def instant_of(value: bytes) -> Instant | None:
    """Read a time from JSON text: RFC 3339 with an offset, or seconds since 1970; None for null and the empty text.

    Raises:
        Malformed: it is neither.
    """
    if value in {b"null", b'""'}:
        return None
    if value[0] == _QUOTE:
        try:
            parsed = _decode(value)
            return _instant(microseconds_of(parsed))
        except (msgspec.DecodeError, OverflowError) as exc:
            raise Malformed(f"found {_shown(value)}; expected a time in RFC 3339 with its offset") from exc
    try:
        seconds = Decimal(value.decode())
    except (InvalidOperation, UnicodeDecodeError) as exc:
        raise Malformed(f"found {_shown(value)}; expected a time in RFC 3339, or seconds since 1970") from exc
    if not 0 <= seconds <= _LATEST:
        raise Malformed(f"found {_shown(value)}; expected seconds since 1970 ($fromMillis(updated) reads milliseconds)")
    return _instant(int(seconds * 1_000_000))


def microseconds_of(moment: datetime) -> int:
    """Return a time in microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def datetime_of(microseconds: int) -> datetime:
    """Return the time, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _instant(microseconds: int) -> Instant:
    return Instant(microseconds, _encode(datetime_of(microseconds))[1:-1])


def _shown(value: bytes) -> str:
    return value[:_SHOWN].decode(errors="replace")
