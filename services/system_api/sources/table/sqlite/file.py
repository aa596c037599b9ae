"""One file of SQLite, opened for reading alone, and again after any failure."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.sqlite.values import Value, text
from shared.errors import Unavailable
from shared.runtime.clock import Clock

_READ_ONLY = {"mode": "ro", "uri": "true"}
_BUSY = 5.0
"""Seconds to wait while somebody writes."""
_STEPS = 100_000
"""Of SQLite's machine, between two looks at the clock: a millisecond or so."""


class SqliteFile:
    """The file that the options name; need not be there yet."""

    def __init__(self, options: TableSourceOptions, clock: Clock) -> None:
        self._place = f"database {options.path}, table {options.table}"
        url = URL.create("sqlite+aiosqlite", database=f"file:{quote(str(options.path))}", query=_READ_ONLY)
        self._engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": _BUSY})
        self._connection: AsyncConnection | None = None
        self._path = options.path
        self._clock = clock
        self._timeout = options.statement_timeout
        self._deadline = 0.0
        self._opened: tuple[int, int] | None = None
        """Device and inode of the file that the connection is to."""

    async def fetch(
        self, statement: str, arguments: Sequence[Value] = (), timeout: float | None = None
    ) -> Sequence[Any]:
        """Return the rows of a statement.

        Raises:
            Unavailable: the file is not there, is locked or none of SQLite's, has no such table, or the statement took
                longer than `patience`, in seconds, or than is left of a poll.
        """
        self._deadline = self._clock.monotonic() + (self._timeout if timeout is None else timeout)
        try:
            connection = await self._connected()
            found = (await connection.exec_driver_sql(statement, tuple(arguments))).fetchall()
            await connection.rollback()
        except DBAPIError as exc:
            await self.close()
            raise Unavailable(f"{self._place}: {exc.orig}") from exc
        return found

    async def close(self) -> None:
        """Let go of the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _is_late(self) -> bool:
        return self._clock.monotonic() > self._deadline

    async def _connected(self) -> AsyncConnection:
        there = await asyncio.to_thread(_inode_of, self._path)
        if there != self._opened:
            # Renamed into its place: SQLite would go on reading the one that is gone.
            await self.close()
        if self._connection is None:
            self._opened = there
            self._connection = await self._engine.connect()
            raw = await self._connection.get_raw_connection()
            assert raw.driver_connection is not None
            # SQLite takes any bytes for text; one row of them must not fail all.
            raw.driver_connection.text_factory = text
            # Nothing else ends a statement: whoever cancels the wait for it waits for its end all the same.
            await raw.driver_connection.set_progress_handler(self._is_late, _STEPS)
        return self._connection


def _inode_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None  # SQLite says it better
    return status.st_dev, status.st_ino
