"""What the order values of a column of times are: integers that grow with the time.

Times are in microseconds since 2000, as PostgreSQL counts them.
"""

import math
import struct
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, Protocol

from services.system_api.sources.table.timestamps import SINCE_1970

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_FIRST_DAY = date(2000, 1, 1)
_FARTHEST = 2**62
"""Microseconds that stand for infinity."""
_LAST_BITS = 2**63 - 1

TimeUnit = Literal["seconds", "milliseconds", "microseconds", "nanoseconds"]
"""What numbers since 1970 count."""
PER_SECOND: dict[TimeUnit, int] = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}

DATE_SPREAD = 12 * 3600
"""Seconds. Nowhere is the date more than this behind that of UTC."""


class TimeScale(Protocol):
    """Converts between order values and times."""

    def micros(self, order: int, /) -> int:
        """Return the time of an order value."""
        ...

    def at(self, micros: int, /) -> int:
        """Return the order value of a time, rounded down."""
        ...

    def text(self, order: int, /) -> str:
        """Return an order value for the id of an event."""
        ...


class Microseconds:
    """Of timestamps."""

    def micros(self, order: int) -> int:
        """See `TimeScale`."""
        return order

    def at(self, micros: int) -> int:
        """See `TimeScale`."""
        return micros

    def text(self, order: int) -> str:
        """See `TimeScale`."""
        return f"{order + SINCE_1970}"


class Days:
    """Of dates: days since 2000."""

    def micros(self, order: int) -> int:
        """See `TimeScale`: the beginning of the day."""
        return order * _DAY

    def at(self, micros: int) -> int:
        """See `TimeScale`."""
        return micros // _DAY

    def text(self, order: int) -> str:
        """See `TimeScale`."""
        try:
            return (_FIRST_DAY + timedelta(days=order)).isoformat()
        except OverflowError:
            return f"{order}"


@dataclass(frozen=True, slots=True)
class Integers:
    """Of integers since 1970."""

    per_second: int

    def micros(self, order: int) -> int:
        """See `TimeScale`."""
        return order * _SECOND // self.per_second - SINCE_1970

    def at(self, micros: int) -> int:
        """See `TimeScale`."""
        return (micros + SINCE_1970) * self.per_second // _SECOND

    def text(self, order: int) -> str:
        """See `TimeScale`."""
        return f"{order}"


@dataclass(frozen=True, slots=True)
class Floats:
    """Of floating-point numbers since 1970: the order value has the bits of the number, and sorts like it."""

    per_second: int

    def micros(self, order: int) -> int:
        """See `TimeScale`."""
        value = float_of(order)
        if not math.isfinite(value):
            return -_FARTHEST if value < 0 else _FARTHEST
        return int(value * (_SECOND / self.per_second)) - SINCE_1970

    def at(self, micros: int) -> int:
        """See `TimeScale`."""
        return order_of(float((micros + SINCE_1970) * self.per_second) / _SECOND)

    def text(self, order: int) -> str:
        """See `TimeScale`."""
        return f"{float_of(order)!r}"


def order_of(value: float) -> int:
    """Return the integer that sorts among integers as `value` does among numbers. NaN is above all of them."""
    bits: int
    (bits,) = struct.unpack(">q", struct.pack(">d", math.copysign(value, 1.0) if math.isnan(value) else value + 0.0))
    return bits if bits >= 0 else bits ^ _LAST_BITS


def float_of(order: int) -> float:
    """Return the number of an integer from `order_of`."""
    (value,) = struct.unpack(">d", struct.pack(">q", order if order >= 0 else order ^ _LAST_BITS))
    return float(value)


def numbers(unit: TimeUnit, *, floating: bool = False) -> TimeScale:
    """Return the scale of numbers since 1970."""
    return (Floats if floating else Integers)(PER_SECOND[unit])
