"""Plain asyncpg connections for hot paths, a bounded number of them.

Not asyncpg's own pool: giving a connection back there costs a round trip or two tasks, and waits for a server that has
stopped answering for as long as TCP does. Here a connection whose statement was interrupted is dropped on the spot, so
that a time limit around a statement is one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Self

import asyncpg

from shared.database.engine import connect_arguments
from shared.database.errors import translate
from shared.database.options import DatabaseOptions
from shared.errors import TrelayError

Tell = Callable[[str | None], None]
"""Is told after each use what was wrong with the database, None if nothing."""


class Connections:
    """Connections that are opened when needed and kept for the next use."""

    def __init__(
        self,
        options: DatabaseOptions,
        *,
        size: int,
        purpose: str,
        settings: Mapping[str, str] | None = None,
        tell: Tell | None = None,
    ) -> None:
        """`purpose` is what `pg_stat_activity` shows; `settings` are the session's, beside those all have."""
        self.place = options.place
        self._arguments = connect_arguments(options, purpose)
        self._arguments["server_settings"] |= settings or {}
        self._tell = tell or ignore
        self._free = asyncio.Semaphore(size)
        self._idle: list[asyncpg.Connection] = []

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        options: DatabaseOptions,
        *,
        size: int,
        purpose: str,
        settings: Mapping[str, str] | None = None,
        tell: Tell | None = None,
    ) -> AsyncIterator[Self]:
        """Connects at the first use; leaving drops those that are idle."""
        connections = cls(options, size=size, purpose=purpose, settings=settings, tell=tell)
        try:
            yield connections
        finally:
            connections.drop_idle()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[asyncpg.Connection]:
        """Borrow a connection, alone, for statements that leave nothing behind in the session.

        Raises:
            Unavailable, Unauthorized: see `database_errors`, for the body too.
        """
        async with self._free:
            try:
                connection = await self._take()
                try:
                    yield connection
                except (asyncpg.PostgresError, TrelayError):
                    self._keep(connection)  # the server, or the body, refused something; the session is as before
                    raise
                except BaseException:
                    connection.terminate()
                    raise
                self._keep(connection)
            except TrelayError:
                raise  # the body's own: it says nothing of the database
            except Exception as exc:
                error = translate(self.place, exc)
                if error is None:
                    raise
                self._tell(str(error))
                raise error from exc
            self._tell(None)

    def drop_idle(self) -> None:
        """Close what is not in use, without a word to the server."""
        while self._idle:
            self._idle.pop().terminate()

    async def _take(self) -> asyncpg.Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        opened: asyncpg.Connection = await asyncpg.connect(**self._arguments)
        return opened

    def _keep(self, connection: asyncpg.Connection) -> None:
        # In a transaction: whoever had it gave up half-way. Closing rolls back, and is certain to.
        if connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
        else:
            self._idle.append(connection)


def ignore(_problem: str | None) -> None:
    """Nobody wants to know."""
