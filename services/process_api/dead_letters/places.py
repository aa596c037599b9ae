"""Where a dead letter is in its topic, and in which portions the topic is scanned. No I/O."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from shared.errors import Malformed

_NAME = re.compile(r"([0-9]{1,9})-([0-9]{1,18})")
_GAP = 1000
"""Letters that are read together where this many offsets at most are between them."""

Bounds = Mapping[int, tuple[int, int]]
"""The earliest offset and the end, by partition."""


class Place(NamedTuple):
    """A partition of the dead-letter topic, and an offset there: what names a letter."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"


class Window(NamedTuple):
    """The offsets from `first` up to `end`, excluded, of one partition."""

    partition: int
    first: int
    end: int


def parse_place(text: str) -> Place:
    """Return the place that a name stands for.

    Raises:
        Malformed: it is no name.
    """
    found = _NAME.fullmatch(text)
    if found is None:
        raise Malformed(f"id: found {text[:60]!r}; expected partition and offset, such as '0-4711'")
    return Place(int(found[1]), int(found[2]))


def windows(bounds: Bounds, size: int, at: Place | None = None, *, newest_first: bool = False) -> Iterator[Window]:
    """Yield the windows of at most `size` offsets in which a topic is scanned, in the order of the scan.

    `at` is where it continues: the first offset that is left, or, with the newest first, the last one that was scanned.
    """
    for number in sorted(bounds, reverse=newest_first):
        first, end = bounds[number]
        if newest_first:
            if at is not None and number >= at.partition:
                end = min(end, at.offset) if number == at.partition else first
            yield from (Window(number, max(first, upper - size), upper) for upper in range(end, first, -size))
        else:
            if at is not None and number <= at.partition:
                first = max(first, at.offset) if number == at.partition else end
            yield from (Window(number, lower, min(end, lower + size)) for lower in range(first, end, size))


def windows_of(places: Iterable[Place], bounds: Bounds, at: Place | None = None) -> Iterator[Window]:
    """Yield the windows that hold single letters, from `at` on; those that are outside the bounds are left out."""
    inside = sorted(
        place
        for place in places
        if (at is None or place >= at)
        and place.partition in bounds
        and bounds[place.partition][0] <= place.offset < bounds[place.partition][1]
    )
    start = 0
    for number in range(1, len(inside) + 1):
        if number == len(inside) or _apart(inside[number - 1 : number + 1]):
            yield Window(inside[start].partition, inside[start].offset, inside[number - 1].offset + 1)
            start = number


def _apart(pair: Sequence[Place]) -> bool:
    before, after = pair
    return before.partition != after.partition or after.offset - before.offset > _GAP
