"""Local times of a zone whose clocks are set back."""

from datetime import UTC, datetime, timedelta, tzinfo

_LOOK_AHEAD = timedelta(hours=3)
"""Clocks are set back by less than this: by two hours in double summer time, by one hour now."""


def lowest_local(instant: datetime, zone: tzinfo) -> datetime:
    """Return the lowest local time, without zone, that clocks in `zone` show from `instant` (aware) on."""
    instant = instant.astimezone(UTC)
    local = _local(instant, zone)
    later = instant + _LOOK_AHEAD
    before, after = _offset(instant, zone), _offset(later, zone)
    if after >= before:
        return local
    # Find the moment when the clocks are set back: the offset is `before` at `low` and lower at `high`.
    low, high = instant, later
    while high - low > timedelta(microseconds=1):
        middle = low + (high - low) / 2
        low, high = (middle, high) if _offset(middle, zone) >= before else (low, middle)
    return min(local, _local(high, zone))


def _offset(instant: datetime, zone: tzinfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()


def _local(instant: datetime, zone: tzinfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)
