"""Recognises new and changed records by the time of their last change.

The floor is the greatest time seen minus the overlap. A poll reads what has changed since the floor, and the checkpoint
holds every record above it that was published, with its version. The floor moves at the end of a poll only: then all
pages have been read, in whatever order the API lists them. Where the API lists the oldest first, it moves with each
page, one page behind: a record that moves to the page before is found when that page is read again. No I/O.
"""

import heapq
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from services.system_api.sources.http.instants import microseconds_of
from services.system_api.sources.http.polling.changes.protocol import Deletion
from services.system_api.sources.http.polling.changes.segments import Segments
from services.system_api.sources.http.polling.changes.state_part import StatePart
from services.system_api.sources.http.polling.options import NOW, ByTimeOptions
from services.system_api.sources.http.polling.records import Record
from services.system_api.sources.http.polling.times import written
from services.system_api.sources.source import Checkpoint
from shared.errors import Malformed, TrelayError
from shared.runtime.clock import Clock, rfc3339

MODE = "time"

_LARGEST_DIFFERENCE = 86_400.0
"""Seconds by which the clock of an API may differ: with more, what it says is no time."""


class _State(msgspec.Struct, omit_defaults=True):
    mode: str
    floor: int | None
    greatest: int | None
    snapshot: bool = False
    """Whether a snapshot is in progress."""


class ByTime:
    """The records of one source that were published, by time. Times are in microseconds since 1970."""

    problem: str | None = None
    more = False
    url: str | None = None
    cursor: str | None = None

    def __init__(self, options: ByTimeOptions, checkpoint: Checkpoint, clock: Clock) -> None:
        """Raises `SettingsError` where the checkpoint is of another kind."""
        self._options = options
        self._overlap = int(options.overlap * 1_000_000)
        self._clock = clock
        self._part = StatePart(checkpoint, MODE, _State)
        self._seen = Segments(checkpoint)
        state = self._part.loaded or _State(MODE, self._start(), None)
        self._floor = state.floor
        self._starting = self._part.loaded is None and options.start == NOW
        """Whether the time at which the source starts is that of this machine, until the API has told its own."""
        self._greatest = state.greatest
        self._snapshot = state.snapshot
        self._began = self._from
        """The floor when this poll began."""
        self._by_age = [(entry[0], identity) for identity, entry in self._seen.items()]
        """A heap of the records that are remembered; of one that has changed, the older times are still in it."""
        heapq.heapify(self._by_age)
        self._reached: int | None = None
        self._confirmed: int | None = None
        """The greatest time that this poll has listed, up to this page and up to the page before."""

    def query(self) -> dict[str, str]:
        """Return the parameter that selects what has changed since the floor."""
        if self._options.parameter is None or self._from is None:
            return {}
        return {self._options.parameter: written(self._from, self._options.format)}

    def begin_again(self) -> bool:
        """Return False: there is no cursor that the API could forget."""
        return False

    def note_time(self, sent: float | None) -> bool:
        """See `Changes`: now is when the API says it is, because its records have the times of its clock."""
        starting, self._starting = self._starting, False
        if not starting or sent is None or abs(sent - self._clock.time()) > _LARGEST_DIFFERENCE:
            return False
        before, self._floor = self._floor, int(sent * 1_000_000) - self._overlap
        self._began = self._from
        return before != self._floor and self._options.parameter is not None

    def begin_page(self, records: Sequence[Record]) -> None:
        """Check that these records come after those before them, where that is promised."""
        if not self._options.ascending or self._reached is None:
            return
        times = (each.time.microseconds for each in records if each.time is not None and each.id not in self._seen)
        # An API may list what has changed before `since` as well: a day of it, for example.
        oldest = min((at for at in times if self._began is None or at >= self._began), default=self._reached)
        if oldest < self._reached - self._overlap:
            raise TrelayError(
                f"changes.ascending: after a record of {_shown(self._reached)} the API lists one of {_shown(oldest)},"
                " further back than the overlap; remove changes.ascending, or let the API list the oldest first"
            )

    def take(self, record: Record) -> str | None:
        """Return the position of the record's event, or None; see `Changes`."""
        if record.time is None:
            raise Malformed("time: the expression gives nothing; expected a time, because changes are found by it")
        at = record.time.microseconds
        if self._from is not None and at < self._from:
            return None
        if self._floor is not None and at < self._floor:
            return self._take_again(record, at)
        known = self._seen.get(record.id)
        if known is not None and (known == [at, record.version] or at < known[0]):
            self._reach(known[0])
            # An older version comes from a server that lags behind the others.
            return _position(record, at) if self._snapshot and at == known[0] else None
        if known is None and len(self._seen) >= self._options.window_limit:
            raise TrelayError(
                f"more than {self._options.window_limit} records would have to be remembered (changes.window_limit):"
                " set changes.ascending if the API lists the oldest first, a later changes.start, or a smaller overlap"
            )
        self._reach(at)
        self._seen.put(record.id, [at, record.version])
        heapq.heappush(self._by_age, (at, record.id))
        return _position(record, at)

    def listed(self, ids: Iterable[str]) -> None:
        """Note that the list still has these records."""
        for entry in filter(None, map(self._seen.get, ids)):
            self._reach(entry[0])

    def page_read(self, cursor: str | None) -> None:  # noqa: ARG002 -- this is for others
        """Move the floor, where the API lists the oldest first."""
        if self._options.ascending:
            self._advance(self._confirmed)
            self._confirmed = self._reached

    def pages_moved(self) -> None:
        """Begin again: the floor stays where the pages before have confirmed it."""
        self._reached = self._confirmed = None
        self._began = self._from

    def finish(self, *, complete: bool) -> None:  # noqa: ARG002 -- as above
        """Move the floor."""
        self._advance(self._reached)
        self._reached = self._confirmed = None
        self._snapshot = False
        self._began = self._from

    def deletions(self, limit: int) -> list[Deletion]:  # noqa: ARG002 -- as above
        """Return none: a record that is not listed has not changed."""
        return []

    def checkpoint(self) -> dict[str, bytes]:
        """Return all parts of the checkpoint."""
        return self._seen.parts() | self._part.part(self._state())

    def checkpoint_at(self, place: Literal["beginning"] | datetime) -> dict[str, bytes]:
        """Return a floor without any record above it."""
        floor = None if place == "beginning" else microseconds_of(place)
        return self._part.part(_State(MODE, floor, floor))

    def begin_snapshot(self) -> None:
        """Read from `changes.start` on, or everything; see `Changes`."""
        self._snapshot = True
        self.pages_moved()

    def saved(self) -> dict[str, bytes | None]:
        """Return the parts of the checkpoint that have changed."""
        return self._seen.take_changed() | self._part.changed(self._state())

    def _state(self) -> _State:
        return _State(MODE, self._floor, self._greatest, self._snapshot)

    @property
    def _from(self) -> int | None:
        """The time from which on this poll reads."""
        if not self._snapshot:
            return self._floor
        start = self._options.start_time
        return None if start is None else microseconds_of(start)

    def _take_again(self, record: Record, at: int) -> str | None:
        """Return the position of a record below the floor, which only a snapshot reads."""
        # A newer version that is remembered was published.
        return None if record.id in self._seen else _position(record, at)

    def _reach(self, at: int) -> None:
        self._reached = at if self._reached is None else max(at, self._reached)

    def _advance(self, reached: int | None) -> None:
        if reached is None:
            return
        # A time in the future must not hide what happens until then.
        reached = min(reached, int(self._clock.time() * 1_000_000))
        self._greatest = reached if self._greatest is None else max(self._greatest, reached)
        floor = self._greatest - self._overlap
        if self._floor is None or floor > self._floor:
            self._floor = floor
            self._forget_below(floor)

    def _forget_below(self, floor: int) -> None:
        while self._by_age and self._by_age[0][0] < floor:
            at, identity = heapq.heappop(self._by_age)
            entry = self._seen.get(identity)
            if entry is not None and entry[0] == at:
                self._seen.discard(identity)

    def _start(self) -> int | None:
        if self._options.start == NOW:
            return int(self._clock.time() * 1_000_000) - self._overlap
        start = self._options.start_time
        return None if start is None else microseconds_of(start)


def _position(record: Record, at: int) -> str:
    return f"{record.id}@{at}.{record.version}"


def _shown(at: int) -> str:
    return rfc3339(at / 1_000_000)
