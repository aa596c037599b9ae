"""Which rows of a table in SQLite are final: no row can appear below them any more.

SQLite has one writer at a time. Keys that it assigns grow in the order of the commits. Times, and keys that
applications make, are taken before the commit: they are final when they are older than `overlap`.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Protocol

from services.system_api.sources.table.delayed import Delayed
from services.system_api.sources.table.entries import Order
from services.system_api.sources.table.local_clock import LocalClock
from services.system_api.sources.table.sqlite.times import Numbers, Texts
from services.system_api.sources.table.time_scale import DATE_SPREAD
from services.system_api.sources.table.zones import local_time, lowest_local
from shared.errors import Malformed
from shared.runtime.clock import Clock

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 -- local times have no zone
_MICROSECOND = timedelta(microseconds=1)
_AHEAD = timedelta(days=1)


class Final(Protocol[Order]):
    """Tells what is final."""

    def below(self, highest: Order) -> Order | None:
        """Return the horizon for the highest order value in the table; None if none is known yet."""
        ...

    def at(self, time: datetime, like: Any, /) -> Order:
        """Return the order value of a time, written like a value of the column.

        Raises:
            Malformed: rows are ordered by their key.
        """
        ...

    def problem(self) -> str | None:
        """Return what is wrong with the order values; None if nothing."""
        ...


class FinalKeys:
    """Keys, `delay` seconds after they were seen."""

    def __init__(self, delay: float, clock: Clock) -> None:
        self._delayed = Delayed[int](delay)
        self._clock = clock

    def below(self, highest: int) -> int | None:
        """See `Final`."""
        return self._delayed.observe(highest + 1, self._clock.monotonic())

    def at(self, _time: datetime, _like: int) -> int:
        """See `Final`."""
        raise Malformed("a table without updated_at_column has no times; expected beginning, end or a position")

    def problem(self) -> None:
        """Return None."""


class FinalNumbers:
    """Times as numbers, once they are `age` seconds old."""

    def __init__(self, numbers: Numbers, age: float, clock: Clock) -> None:
        self._numbers = numbers
        self._age = age
        self._clock = clock

    def below(self, highest: float) -> int:
        """See `Final`."""
        return self._numbers.written(self._clock.time() - self._age, highest)

    def at(self, time: datetime, like: float) -> int:
        """See `Final`."""
        return self._numbers.written(time.timestamp(), like)

    def problem(self) -> None:
        """Return None."""


class FinalTexts:
    """Times as text, once they are `age` seconds old."""

    def __init__(self, texts: Texts, zone: tzinfo | None, age: float, clock: Clock) -> None:
        """Without a zone, times are in UTC, and a date is that of any place."""
        self._texts = texts
        self._spread = DATE_SPREAD if zone is None else 0
        self._zone = zone or UTC
        self._age = age
        self._clock = clock
        self._local_clock = LocalClock()

    def below(self, highest: str) -> str:
        """See `Final`.

        Raises:
            SettingsError: the value is no time.
        """
        now = self._clock.now()
        utc, local = local_time(now, UTC), local_time(now, self._zone)
        latest = self._texts.parsed(highest)
        if self._texts.is_date(highest):
            then = now - timedelta(seconds=self._age + self._spread)
            return self._texts.written(lowest_local(then, self._zone), highest)
        # Times that are further ahead are no clock's.
        known = latest if latest < utc + _AHEAD else None
        self._local_clock.observe(
            None if known is None else _microseconds(known), _microseconds(utc), _microseconds(local)
        )
        then = now - timedelta(seconds=self._age)
        return self._texts.written(min(lowest_local(then, self._zone), self._bound(then)), highest)

    def at(self, time: datetime, like: str) -> str:
        """See `Final`."""
        return self._texts.written(local_time(time, self._zone), like)

    def problem(self) -> str | None:
        """Return that the zone of the settings is wrong, if it is."""
        return self._local_clock.problem(str(self._zone))

    def _bound(self, then: datetime) -> datetime:
        return _EPOCH + self._local_clock.bound(_microseconds(local_time(then, UTC))) * _MICROSECOND


def _microseconds(local: datetime) -> int:
    return (local - _EPOCH) // _MICROSECOND
