"""Decides where a snapshot begins, or whether one that was interrupted goes on."""

import asyncio
from collections.abc import Iterable

from services.experience_api import refusals
from services.experience_api.hub.audience import Interest
from services.experience_api.hub.patterns import covers
from services.experience_api.latest.view import LatestEvents, View
from services.experience_api.refusals import Refused
from services.experience_api.stream.history import History
from services.experience_api.stream.log_reader import LogReader
from services.experience_api.stream.snapshots.paging import Paging, digest_of
from services.experience_api.wire.snapshot_cursor import START, SnapshotCursor, SnapshotEncoder
from shared.errors import Unavailable
from shared.runtime.clock import Clock

COPIED_AGAIN = "the latest events are being copied again"
OTHERS_REQUESTED = "other channels or filters were requested"
"""Why a snapshot begins again: it lacks what was not requested before."""
_VIEW_FOR = 1.0
"""Seconds for which many connections that begin at once share what was read of the positions."""


class Beginnings:
    """Begins the snapshots of a replica."""

    def __init__(
        self, latest: LatestEvents, channels: Iterable[str], history: History, log_reader: LogReader, clock: Clock
    ) -> None:
        """`channels` are the patterns of which the latest events are kept."""
        self._latest = latest
        self._channels = tuple(channels)
        self._history = history
        self._log_reader = log_reader
        self._clock = clock
        self._reading = asyncio.Lock()
        self._view: tuple[float, View] | None = None
        self._failure: tuple[float, str] | None = None

    async def cursor(self, interest: Interest) -> str:
        """Return the cursor at which a snapshot of these channels begins.

        Raises:
            Refused: `MALFORMED`: not all of the channels are kept; `UNAVAILABLE`.
        """
        for pattern in self.not_kept(interest):
            raise Refused(
                refusals.MALFORMED,
                f"query parameter 'snapshot': the latest events of channel {pattern!r} are not kept; expected "
                f"'channels' within {', '.join(self._channels)}, or more in the setting experience.latest.channels",
            )
        try:
            view = await self.view()
        except Unavailable as exc:
            raise Refused(refusals.UNAVAILABLE, str(exc), retry_after=1.0) from exc
        return SnapshotEncoder(self._history.codec, view.positions, digest_of(interest)).encode(START).decode()

    def not_kept(self, interest: Interest) -> list[str]:
        """Return the channels and patterns whose latest events are not kept, or not of all that they match."""
        return [name for name in interest.patterns if not any(covers(kept, name) for kept in self._channels)]

    async def view(self, *, newer: bool = False) -> View:
        """Return how far the latest events are copied, as of a second ago at most; `newer` as of now.

        Raises:
            Unavailable: the database does not answer, or nothing is copied of the topic yet.
        """
        async with self._reading:
            view = self._recent(newer=newer)
            if view is None:
                view = await self._read()
        codec = self._history.codec
        if (view.epoch, len(view.positions)) != (codec.epoch, codec.partitions):
            self._view = None
            raise Unavailable("the latest events are those of the topic before it was recreated")
        return view

    def _recent(self, *, newer: bool) -> View | None:
        """Return what was read a second ago at most; raise what went wrong then."""
        now = self._clock.monotonic()
        if self._failure is not None and now - self._failure[0] <= _VIEW_FOR:
            raise Unavailable(self._failure[1])
        if newer or self._view is None or now - self._view[0] > _VIEW_FOR:
            return None
        return self._view[1]

    async def _read(self) -> View:
        began = self._clock.monotonic()
        try:
            found = await self._latest.view()
        except Unavailable as exc:
            # At the end of the attempt: all that have waited for it share the failure.
            self._failure = self._clock.monotonic(), str(exc)
            raise
        self._failure = None
        if found is None:
            raise Unavailable("no latest events have been copied yet")
        self._view = began, found
        return found

    async def paging(self, cursor: SnapshotCursor, interest: Interest) -> tuple[Paging, str]:
        """Return what is left of a snapshot at a cursor; or a snapshot that begins again, and why.

        Raises:
            Unavailable: as `view`, or the bus does not answer.
        """
        view = await self.view()
        if any(map(int.__gt__, cursor.vector, view.positions)):
            view = await self.view(newer=True)
        reason = await self._lost(cursor, interest, view)
        if reason:
            view = await self.view(newer=True)
            return Paging(self._history.codec, view, view.positions, interest), reason
        return Paging(self._history.codec, view, cursor.vector, interest, cursor.place), ""

    async def _lost(self, cursor: SnapshotCursor, interest: Interest, view: View) -> str:
        """Return why a snapshot cannot go on; empty if it can."""
        if cursor.interest != digest_of(interest) and cursor.place != START:
            return OTHERS_REQUESTED
        if any(map(int.__gt__, cursor.vector, view.positions)):
            return COPIED_AGAIN
        if any(map(int.__lt__, cursor.vector, self._history.tail)):
            earliest = await self._log_reader.earliest()
            if any(offset < earliest[partition] for partition, offset in enumerate(cursor.vector)):
                return "the events since it began are no longer kept"
        return ""
