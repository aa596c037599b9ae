"""A pool of plain asyncpg connections for hot paths.

Not asyncpg's own pool: there, releasing a connection costs a round trip or two tasks, and waits for a server that does
not answer for as long as TCP does. Here, a connection whose statement was interrupted is closed at once, so a time
limit around a statement holds.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Self

import asyncpg

from shared.database.arguments import connect_arguments
from shared.database.connecting import open_connection
from shared.database.errors import translate
from shared.database.options import DatabaseOptions
from shared.database.spans import trace_statements
from shared.errors import TrelayError

OnUse = Callable[[str | None], None]
"""Called after each use with what was wrong with the database, or None."""


class ConnectionPool:
    """Connections that are opened when needed and kept for the next use."""

    def __init__(
        self,
        options: DatabaseOptions,
        *,
        size: int,
        purpose: str,
        settings: Mapping[str, str] | None = None,
        on_use: OnUse | None = None,
    ) -> None:
        """`purpose` appears in `pg_stat_activity`; `settings` are further settings of the session."""
        self.address = options.address
        self._arguments = connect_arguments(options, purpose)
        self._arguments["server_settings"] |= settings or {}
        self._on_use = on_use or ignore
        self._free = asyncio.Semaphore(size)
        self._idle: list[asyncpg.Connection] = []
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        options: DatabaseOptions,
        *,
        size: int,
        purpose: str,
        settings: Mapping[str, str] | None = None,
        on_use: OnUse | None = None,
    ) -> AsyncIterator[Self]:
        """Open a pool, which connects at its first use, and close it at the end."""
        pool = cls(options, size=size, purpose=purpose, settings=settings, on_use=on_use)
        try:
            yield pool
        finally:
            pool.close()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[asyncpg.Connection]:
        """Borrow a connection for statements that leave no state in the session.

        Raises:
            Unavailable, Unauthorized: as `database_errors`, also for the body.
        """
        async with self._free:
            try:
                connection = await self._take()
                trace_statements(connection)
                try:
                    yield connection
                except (asyncpg.PostgresError, TrelayError):
                    self._release(connection)  # the server, or the body, has refused something; the session is usable
                    raise
                except BaseException:
                    connection.terminate()
                    raise
                self._release(connection)
            except TrelayError:
                raise  # of the body: it says nothing about the database
            except Exception as exc:
                error = translate(self.address, exc)
                if error is None:
                    raise
                self._on_use(str(error))
                raise error from exc
            self._on_use(None)

    def close(self) -> None:
        """Close idle connections now, and each that is in use at the end of its use. Does not wait for the server."""
        self._closed = True
        self.drop_idle()

    def drop_idle(self) -> None:
        """Close idle connections without waiting for the server."""
        while self._idle:
            self._idle.pop().terminate()

    async def _take(self) -> asyncpg.Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await open_connection(self._arguments)

    def _release(self, connection: asyncpg.Connection) -> None:
        # In a transaction, its user was interrupted. Closing the connection rolls back, and always works.
        if self._closed or connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
        else:
            self._idle.append(connection)


def ignore(_problem: str | None) -> None:
    """Do nothing with a problem."""
