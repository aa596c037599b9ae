"""A SQLite file, opened read-only, and reopened after any failure."""

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
"""Seconds to wait while the file is locked by a writer."""
_STEPS = 100_000
"""Instructions of SQLite's virtual machine between two checks of the clock: about a millisecond."""


class SqliteFile:
    """The file that the options name; it may not exist yet."""

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
        """Device and inode of the open file."""

    async def fetch(
        self, statement: str, arguments: Sequence[Value] = (), timeout: float | None = None
    ) -> Sequence[Any]:
        """Return the rows of a statement.

        Raises:
            Unavailable: the file does not exist, is locked or not a SQLite file, has no such table, or the statement
                took longer than `timeout` seconds, by default four fifths of `poll_timeout`.
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
        """Close the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _is_late(self) -> bool:
        return self._clock.monotonic() > self._deadline

    async def _connected(self) -> AsyncConnection:
        there = await asyncio.to_thread(_inode_of, self._path)
        if there != self._opened:
            # Another file was renamed to this path: SQLite would read the deleted one.
            await self.close()
        if self._connection is None:
            self._opened = there
            self._connection = await self._engine.connect()
            raw = await self._connection.get_raw_connection()
            assert raw.driver_connection is not None
            # SQLite accepts any bytes as text; one such row must not fail the statement.
            raw.driver_connection.text_factory = text
            # Only this handler can end a statement: cancelling the wait for it does not.
            await raw.driver_connection.set_progress_handler(self._is_late, _STEPS)
        return self._connection


def _inode_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None  # opening it raises a better error
    return status.st_dev, status.st_ino
