"""Local times of a zone, also of one whose clocks are set back."""

from datetime import UTC, datetime, timedelta, tzinfo

_LOOK_AHEAD = timedelta(hours=3)
"""Clocks are set back by less than this: by two hours in double summer time, by one hour now."""


def local_time(instant: datetime, zone: tzinfo) -> datetime:
    """Return the local time, without zone, of an instant (aware); outside the calendar, its first or last time."""
    try:
        return instant.astimezone(zone).replace(tzinfo=None)
    except OverflowError:
        return datetime.min if instant.year == 1 else datetime.max  # noqa: DTZ901 -- local times have no zone


def lowest_local(instant: datetime, zone: tzinfo) -> datetime:
    """Return the lowest local time, without zone, that clocks in `zone` show from `instant` (aware) on."""
    instant = instant.astimezone(UTC)
    local = local_time(instant, zone)
    later = instant + _LOOK_AHEAD
    before, after = _offset(instant, zone), _offset(later, zone)
    if after >= before:
        return local
    # Find the moment when the clocks are set back: the offset is `before` at `low` and lower at `high`.
    low, high = instant, later
    while high - low > timedelta(microseconds=1):
        middle = low + (high - low) / 2
        low, high = (middle, high) if _offset(middle, zone) >= before else (low, middle)
    return min(local, local_time(high, zone))


def _offset(instant: datetime, zone: tzinfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()
