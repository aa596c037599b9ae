"""A SQLite file, opened in a thread of its own, and reopened after any failure."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.sqlite.values import Value, text
from shared.errors import SettingsError, Unavailable
from shared.runtime.clock import Clock

_BUSY = 5.0
"""Seconds to wait while the file is locked by a writer."""
_STEPS = 100_000
"""Instructions of SQLite's virtual machine between two checks of the clock: about a millisecond."""
LENGTH_LIMIT = 4 * 1_048_576
"""Maximum size of one value in bytes: more than a row may have. SQLite does not load a larger one."""

VIEW = 'temp."trelay query"'
"""A query of the settings is a view of the connection alone: SQLite accepts nothing else there than one SELECT."""

Read = TypeVar("Read")


def is_too_large(error: sqlite3.DataError) -> bool:
    """Return whether a value was not loaded because it is larger than `LENGTH_LIMIT`."""
    return str(error) == "string or blob too big"


class SqliteFile:
    """The file that the options name; it may not exist yet."""

    def __init__(self, options: TableSourceOptions, clock: Clock, *, writable: bool = False) -> None:
        self._place = f"database {options.path}, {options.described}"
        self._uri = f"file:{quote(str(options.path))}?mode={'rw' if writable else 'ro'}"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None
        self._path = options.path
        self._query = options.query
        self._clock = clock
        self._timeout = options.statement_timeout
        self._deadline = 0.0
        self._opened: tuple[int, int] | None = None
        """Device and inode of the open file."""

    async def fetch(self, statement: str, arguments: Sequence[Value] = (), timeout: float | None = None) -> list[Any]:
        """Return all rows of a statement that has few. Raises what `run` raises."""
        return await self.run(lambda connection: connection.execute(statement, arguments).fetchall(), timeout)

    async def run(self, read: Callable[[sqlite3.Connection], Read], timeout: float | None = None) -> Read:
        """Call a function with the connection, in the file's thread.

        Raises:
            Unavailable: the file does not exist, is locked or not a SQLite file, has no such table, or the function
                took longer than `timeout` seconds, by default four fifths of `poll_timeout`.
            SettingsError: SQLite refuses the query of the settings.
        """
        self._deadline = self._clock.monotonic() + (self._timeout if timeout is None else timeout)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, read)
        except asyncio.CancelledError:
            self._deadline = 0.0  # the statement ends at its next check
            raise

    async def close(self) -> None:
        """Close the file, once the statement that runs has ended."""
        self._deadline = 0.0
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    def _run(self, read: Callable[[sqlite3.Connection], Read]) -> Read:
        try:
            return read(self._connected())
        except SettingsError:
            self._disconnect()
            raise
        except sqlite3.Error as exc:
            self._disconnect()
            raise Unavailable(f"{self._place}: {exc}") from exc

    def _is_late(self) -> bool:
        return self._clock.monotonic() > self._deadline

    def _connected(self) -> sqlite3.Connection:
        there = _inode_of(self._path)
        if there != self._opened:
            # Another file was renamed to this path: SQLite would read the deleted one.
            self._disconnect()
        if self._connection is None:
            self._opened = there
            connect = partial(sqlite3.connect, timeout=_BUSY, isolation_level=None, check_same_thread=False)
            connection = connect(self._uri, uri=True)
            # SQLite accepts any bytes as text; one such row must not fail the statement.
            connection.text_factory = text
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LENGTH_LIMIT)
            # Only this handler can end a statement: cancelling the wait for it does not.
            connection.set_progress_handler(self._is_late, _STEPS)
            self._connection = connection
            if self._query:
                _create_view(connection, self._query)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _create_view(connection: sqlite3.Connection, query: str) -> None:
    try:
        connection.execute(f"CREATE TEMP VIEW {VIEW.partition('.')[2]} AS\n{query}")
    except sqlite3.Error as exc:
        if getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR:
            raise SettingsError(f"query: SQLite refuses it: {exc}") from exc
        raise


def _inode_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None  # opening it raises a better error
    return status.st_dev, status.st_ino
