"""Where a connection begins: at its cursor, with a snapshot, at a time, or now."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.experience_api import refusals
from services.experience_api.hub.audience import Interest
from services.experience_api.refusals import Refused
from services.experience_api.stream.history import History
from services.experience_api.stream.log_reader import LogReader
from services.experience_api.stream.snapshots.sending import Snapshots
from services.experience_api.wire.cursor import CursorRefused
from services.experience_api.wire.snapshot_cursor import SnapshotCursor, read_cursor
from shared.errors import Unavailable

Answer = TypeVar("Answer")


class Beginning:
    """Finds the cursors at which connections begin."""

    def __init__(
        self, log_reader: LogReader, history: History, snapshots: Snapshots | None, ready: Callable[[], bool]
    ) -> None:
        """`ready` returns whether the publish topic has been read."""
        self._ready = ready
        self._log_reader = log_reader
        self._history = history
        self._snapshots = snapshots

    async def cursor(self, cursor: str | None, since: float | None, snapshot: Interest | None = None) -> str | None:
        """Return the cursor of a connection; None for now.

        That is `cursor` if there is one: a subscriber that reconnects repeats what it asked for at first. Else, and
        where the stream cannot be resumed from the cursor, it is the beginning of a snapshot of the channels of
        `snapshot`. Else it is a time in seconds since 1970.

        Raises:
            Refused: `UNAVAILABLE`: the stream is starting, or the bus or the database does not answer; `MALFORMED`:
                there is no snapshot of these channels.
        """
        if cursor is not None and (snapshot is None or self._snapshots is None):
            return cursor
        if (since, snapshot) != (None, None) and not self._ready():
            raise Refused(refusals.UNAVAILABLE, "the stream is starting; try again", retry_after=1.0)
        if cursor is not None and await self._can_resume(cursor):
            return cursor
        if snapshot is not None:
            if self._snapshots is None:
                raise Refused(
                    refusals.MALFORMED,
                    "query parameter 'snapshot': this service keeps no latest events; expected the setting "
                    "experience.latest.channels to name channels",
                )
            return await self._snapshots.beginnings.cursor(snapshot)
        if since is None:
            return None
        vector = await self._answered(self._log_reader.vector_at(since))
        return self._history.codec.encode(vector).decode()

    async def _can_resume(self, cursor: str) -> bool:
        """Return whether the bus keeps what follows a cursor. A snapshot that cannot go on begins again by itself."""
        try:
            found = read_cursor(self._history.codec, cursor)
        except CursorRefused:
            return False
        if isinstance(found, SnapshotCursor) or not any(map(int.__lt__, found, self._history.tail)):
            return True
        earliest = await self._answered(self._log_reader.earliest())
        return all(offset >= earliest[partition] for partition, offset in enumerate(found))

    async def _answered(self, asked: Awaitable[Answer]) -> Answer:
        try:
            return await asked
        except Unavailable as exc:
            raise Refused(refusals.UNAVAILABLE, str(exc), retry_after=1.0) from exc
