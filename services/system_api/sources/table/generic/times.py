"""Times as text and as order values: nanoseconds since 1970. No I/O."""

from datetime import UTC, datetime, timedelta

from services.system_api.sources.table.timestamps import SINCE_1970
from shared.errors import Unavailable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000_000
_MICROSECOND = timedelta(microseconds=1)


class Nanoseconds:
    """A `TimeScale` whose order values are nanoseconds since 1970."""

    def micros(self, order: int) -> int:
        """See `TimeScale`."""
        return order // 1000 - SINCE_1970

    def at(self, micros: int) -> int:
        """See `TimeScale`."""
        return (micros + SINCE_1970) * 1000

    def text(self, order: int) -> str:
        """See `TimeScale`."""
        return str(order)


def order_of(text: str) -> int:
    """Return the order value of a time such as `2026-01-31 12:00:00.1234567`.

    Raises:
        Unavailable: the server has written it otherwise.
    """
    whole, _, fraction = text.partition(".")
    try:
        moment = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        rest = int(fraction.ljust(9, "0")[:9] or "0")
    except ValueError as exc:
        raise Unavailable(f"found the time {text!r}; expected one such as '2026-01-31 12:00:00.1234567'") from exc
    return of_moment(moment) + rest


def of_moment(moment: datetime) -> int:
    """Return the order value of a moment; a local one is in UTC by name."""
    return (moment.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND * 1000


def moment_of(order: int) -> datetime:
    """Return the moment of an order value, which is in UTC, to the microsecond."""
    return _EPOCH + timedelta(microseconds=order // 1000)


def text_of(order: int, digits: int) -> str:
    """Return an order value as text with these digits of a second, rounded down."""
    seconds, rest = divmod(order, _SECOND)
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{f'{rest:09d}'[:digits]}".rjust(_LENGTH + digits, "0")


_LENGTH = len("2026-01-31 12:00:00.")
