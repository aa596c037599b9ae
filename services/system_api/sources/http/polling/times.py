"""The times of records, read to the microsecond, and written as an API wants them. No I/O."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, NamedTuple, assert_never

import msgspec

from services.system_api.sources.http.polling.options import TimeFormat
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
            return _instant((parsed - _EPOCH) // _MICROSECOND)
        except (msgspec.DecodeError, OverflowError) as exc:
            raise Malformed(f"found {_shown(value)}; expected a time in RFC 3339 with its offset") from exc
    try:
        seconds = Decimal(value.decode())
    except (InvalidOperation, UnicodeDecodeError) as exc:
        raise Malformed(f"found {_shown(value)}; expected a time in RFC 3339, or seconds since 1970") from exc
    if not 0 <= seconds <= _LATEST:
        raise Malformed(f"found {_shown(value)}; expected seconds since 1970 ($fromMillis(updated) reads milliseconds)")
    return _instant(int(seconds * 1_000_000))


def written(microseconds: int, form: TimeFormat) -> str:
    """Write a time, rounded down, as an API wants it."""
    match form:
        case "unix":
            return str(microseconds // 1_000_000)
        case "unix_ms":
            return str(microseconds // 1000)
        case "date":
            return f"{_datetime(microseconds):%Y-%m-%d}"
        case "rfc3339":
            # Without a fraction: not every API reads one, and to begin a little earlier loses nothing.
            return f"{_datetime(microseconds):%Y-%m-%dT%H:%M:%S}Z"
        case _:
            assert_never(form)


def microseconds_of(moment: datetime) -> int:
    """Return a time in microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def _instant(microseconds: int) -> Instant:
    return Instant(microseconds, _encode(_datetime(microseconds))[1:-1])


def _datetime(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _shown(value: bytes) -> str:
    return value[:_SHOWN].decode(errors="replace")
