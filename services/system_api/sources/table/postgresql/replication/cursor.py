"""The messages of a slot, in the order of the log, within a number of bytes.

The server decodes about `_CHANGES` changes at once (a transaction always whole) and keeps the result, on disk if it is
large; a cursor reads it in portions, over as many polls as that takes. To decode again from the position of the slot
for each portion would read the same log again and again. What follows those changes is read by the next cursor.
"""

import asyncio
from collections import deque
from typing import Any, NamedTuple

import asyncpg

from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.postgresql.connection import connect, database_of
from services.system_api.sources.table.postgresql.replication.slot import Slot, peek
from shared.runtime.tasks import started

_CHANGES = 100_000
"""Messages after which the server stops to decode, at the end of a transaction."""
_INLINE = 16_384
"""Bytes of a message that is sent with others; a larger one is sent alone, so that their sum has a bound."""
_PORTION = 1000
"""Messages that are sent at once."""
_LARGE_PORTION = 8
"""The same after a large message: others of its size may follow."""
_IDLE = "600s"
"""How long publishing a portion may take. A transaction that stays open keeps the server from vacuuming."""
_ENDLESS = 1e8
"""Seconds. Decoding a large transaction, or much log, takes as long as it takes; the poll does not wait for it."""
_ADVANCE = "SELECT pg_replication_slot_advance($1, ('0/0'::pg_lsn + $2::numeric))"
_RAW = "; SET LOCAL client_encoding = 'SQL_ASCII'"
"""Lets the server send the bytes that it has, in its own encoding, and convert none of them."""
_SETTINGS = f"""
    SET LOCAL trelay.inline = {_INLINE};
    SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = '{_IDLE}'
"""


class Message(NamedTuple):
    """A message of the output plugin."""

    size: int
    data: bytes
    """Its beginning, if it is very large."""


class ChangeCursor:
    """Reads one slot. Any failure leaves it to be closed."""

    def __init__(self, name: str, options: TableSourceOptions, slot: Slot) -> None:
        self._name = name
        self._options = options
        self._slot = slot
        # The text of a value may have fewer bytes than its JSON, and an update has the row twice.
        self.cut = 4 * options.row_limit + 65_536
        self._connection: asyncpg.Connection | None = None
        self._fetching: asyncio.Task[list[asyncpg.Record]] | None = None
        self._moving: asyncio.Task[None] | None = None
        self._waiting: deque[tuple[int, bytes | None]] = deque()
        self._taken = 0
        """Messages that were returned."""
        self._portion = _PORTION
        self.upto: int | None = None
        """The end of the log that is read; None: no cursor is open."""
        self._changes = _CHANGES
        self.stopped_early = False
        """Whether the last cursor that was read to its end has ended before `upto`: the log may have more."""

    @property
    def moving(self) -> bool:
        """Whether the server moves the slot."""
        return self._moving is not None

    async def advance(self, lsn: int, patience: float) -> bool:
        """Move the slot to a place of the log; return whether that is done, which takes as long as the log is large.

        Waits `patience` seconds at most; the next call continues to wait, whatever its `lsn`.
        """
        if self._moving is None:
            self._moving = started("move slot", self._move(await self._connected(), lsn))
        await asyncio.wait({self._moving}, timeout=patience)
        if not self._moving.done():
            return False
        moving, self._moving = self._moving, None
        moving.result()
        return True

    async def open(self, upto: int, *, raw: bool = False) -> None:
        """Begin to read up to a place of the log; texts are `raw` in the encoding of the database, else in UTF-8.

        The cursor may end before that place, with `stopped_early`. Call `widen` if all that it had was known.
        """
        connection = await self._connected()
        query = peek(self._slot, upto, self._changes, self.cut)
        settings = f"{_SETTINGS}{_RAW if raw else ''}"
        await connection.execute(f"BEGIN READ ONLY; {settings}; DECLARE changes SCROLL CURSOR FOR {query}")
        self._taken = 0
        self.upto = upto

    async def next(self, limit: int, max_bytes: int, patience: float) -> tuple[list[Message], bool] | None:
        """Return the next messages, and whether all were returned before; None: the server still decodes.

        At most `limit` messages, and no more once they have about `max_bytes` bytes. Waits `patience` seconds for the
        server at most.
        """
        if not self._waiting:
            found = await self._fetched(patience)
            if found is None:
                return None
            await self._take(found)
        messages: list[Message] = []
        size = 0
        while self._waiting and size < max_bytes and len(messages) < limit:
            whole, data = self._waiting[0]
            if data is None:
                data = await self._large()
            messages.append(Message(whole, data))
            size += len(data)
            self._waiting.popleft()
            self._taken += 1
        complete = not messages
        if complete:
            await self._end()
            self.stopped_early = self._taken >= self._changes
        return messages, complete

    def widen(self, *, more: bool) -> None:
        """Let the server decode twice as many changes at once as the last time, or as many as at first."""
        self._changes = 2 * self._changes if more else _CHANGES

    def close(self) -> None:
        """Close the connection without waiting for the server."""
        for task in (self._fetching, self._moving):
            if task is not None:
                # It ends with the connection; to cancel it would send a request on another one first.
                task.add_done_callback(_ignore)
        self._fetching = self._moving = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
        self._waiting.clear()
        self.upto = None

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None:
            self._connection = await connect(database_of(self._options), f"{self._name} log")
        return self._connection

    async def _move(self, connection: asyncpg.Connection, lsn: int) -> None:
        """Move the slot, however long that takes: one that was interrupted would have moved by nothing."""
        await connection.execute("BEGIN READ ONLY; SET LOCAL statement_timeout = 0")
        await connection.execute(_ADVANCE, self._slot.name, lsn, timeout=_ENDLESS)
        await connection.execute("COMMIT")

    async def _fetched(self, patience: float) -> list[asyncpg.Record] | None:
        assert self._connection is not None
        if self._fetching is None:
            fetch = self._connection.fetch(f"FETCH FORWARD {self._portion} FROM changes", timeout=_ENDLESS)
            self._fetching = started("decode log", fetch)
        await asyncio.wait({self._fetching}, timeout=patience)
        if not self._fetching.done():
            return None
        fetching, self._fetching = self._fetching, None
        return fetching.result()

    async def _take(self, found: list[asyncpg.Record]) -> None:
        """Keep messages up to the first few large ones, and go back to the rest.

        The server goes over what is kept, there and back, for each large message that it sends.
        """
        assert self._connection is not None
        first = next((number for number, (_, data) in enumerate(found) if data is None), None)
        kept = found if first is None else found[: first + _LARGE_PORTION]
        if len(kept) < len(found):
            await self._connection.execute(f"MOVE ABSOLUTE {self._taken + len(kept)} FROM changes")
        self._portion = min(2 * self._portion, _PORTION) if first is None else _LARGE_PORTION
        self._waiting.extend((size, data) for size, data in kept)

    async def _large(self) -> bytes:
        """Return the first of the waiting messages, which is too large to be sent with others."""
        assert self._connection is not None
        behind = self._taken + len(self._waiting)
        await self._connection.execute(f"SET LOCAL trelay.inline = {2**31 - 1}")
        found = await self._connection.fetchrow(f"FETCH ABSOLUTE {self._taken + 1} FROM changes")
        await self._connection.execute(f"SET LOCAL trelay.inline = {_INLINE}; MOVE ABSOLUTE {behind} FROM changes")
        assert found is not None
        data: bytes = found[1]
        return data

    async def _end(self) -> None:
        assert self._connection is not None
        await self._connection.execute("COMMIT")
        self.upto = None


def _ignore(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
