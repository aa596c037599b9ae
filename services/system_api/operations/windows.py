"""Counts of a source by window: an hour each. No I/O."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

HOUR = 3600.0
HOURS_LIMIT = 31 * 24
"""Windows that are shown at most."""
COUNTS = ("rows", "published", "rejected", "skipped")


@dataclass(frozen=True, slots=True)
class Window:
    """The counts of a source since it exists, as of the end of an hour."""

    began_at: float
    """The full hour, in seconds since 1970."""
    totals: Mapping[str, int]
    """By the names of `COUNTS`."""


def within(windows: Sequence[Window], since: float) -> Iterator[Window]:
    """Yield what was counted within each window since a time; `windows` are in order, with one before that, if any.

    Counts that are lower than before are those of a source that began again under this name.
    """
    before: Mapping[str, int] = {}
    for window in windows:
        began_again = any(window.totals[name] < before.get(name, 0) for name in COUNTS)
        base = {} if began_again else before
        if window.began_at >= since:
            yield Window(window.began_at, {name: window.totals[name] - base.get(name, 0) for name in COUNTS})
        before = window.totals
