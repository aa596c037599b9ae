"""The timers of a step in order, without a scan for each event. Sans-I/O, but for the store."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice

from services.process_api.state.keys import time_key, time_of

_AHEAD = 1000
"""Timers that are read at once."""

_START = b""


class Timers:
    """The timers of one kind, each as its time (`time_key`) and its key.

    The first ones are held in order; a scan passes all changes that are not committed yet, so it reads `_AHEAD` timers,
    and not those of one event. It begins behind all that were due before: RocksDB passes deleted keys one by one (its
    tombstones) until it has compacted them.
    """

    def __init__(self, scan: Callable[[bytes], Iterator[bytes]]) -> None:
        """`scan` yields the timers from a given one on, in order, with the provisional changes."""
        self._scan = scan
        self._first: list[bytes] = []
        """All timers before `_end`."""
        self._end: bytes | None = _START
        """From here on, timers were not read; None if all were."""
        self._kept: bytes | None = _START
        """Where the timers begin without the provisional changes: before it is none. None if there is none at all."""
        self._changed = False

    def next(self) -> int | None:
        """Return a time in milliseconds before which no timer is due; None if there is none."""
        if not self._first:
            if self._end == _START:
                self._read()
            elif self._end is not None:
                return time_of(self._end)
        return time_of(self._first[0]) if self._first else None

    def add(self, timer: bytes) -> None:
        """Add one, if it is new."""
        self._changed = True
        if self._end is not None and timer >= self._end:
            return
        place = bisect_left(self._first, timer)
        if place == len(self._first) or self._first[place] != timer:
            self._first.insert(place, timer)
        if len(self._first) > 2 * _AHEAD:
            self._end = self._first[_AHEAD]
            del self._first[_AHEAD:]

    def discard(self, timer: bytes) -> None:
        """Remove one, if it is there."""
        self._changed = True
        place = bisect_left(self._first, timer)
        if place < len(self._first) and self._first[place] == timer:
            del self._first[place]

    def take_due(self, until: int, limit: int) -> list[bytes]:
        """Remove those up to a time (inclusive), `limit` at most, and return them in order.

        Their removal becomes a change before the next call of another method.
        """
        stop = time_key(until + 1)
        due: list[bytes] = []
        while len(due) < limit:
            if not self._first:
                if self._end is None or self._end >= stop:
                    break
                self._read()
            count = min(bisect_left(self._first, stop), limit - len(due))
            if not count:
                break
            due += self._first[:count]
            del self._first[:count]
            self._changed = True
        return due

    def keep(self) -> None:
        """Note that the provisional changes stay."""
        if self._changed:
            self._kept = self._begin
            self._changed = False

    def undo(self) -> None:
        """Note that the provisional changes were dropped: what they changed is read again."""
        if self._changed:
            self._first, self._end = [], self._kept
            self._changed = False

    @property
    def _begin(self) -> bytes | None:
        return self._first[0] if self._first else self._end

    def _read(self) -> None:
        """Read the first timers."""
        assert self._end is not None, "some were not read"
        found = list(islice(self._scan(self._end), _AHEAD + 1))
        self._end = found.pop() if len(found) > _AHEAD else None
        self._first = found
        if not self._changed:
            self._kept = self._begin
