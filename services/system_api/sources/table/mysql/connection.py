"""A read-only connection to MariaDB or MySQL, and the translation of its errors."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from services.system_api.sources.table.options import TableSourceOptions, settings_errors
from shared.database.arguments import tls_context
from shared.database.engine import trace_engine
from shared.database.spans import database_attributes
from shared.errors import SettingsError, Unauthorized, Unavailable, timed_out, underlying_reason

_CONNECT_TIMEOUT = 5
_GRACE = 2.0
"""Seconds after the server's own limit for a statement until the client stops waiting for it."""
_UNAUTHORIZED = {1044, 1045, 1095, 1142, 1143, 1227, 1370, 1698}
"""Access denied: https://mariadb.com/kb/en/mariadb-error-code-reference/."""
_LOST = range(2000, 3000)
"""Errors of the client: the connection failed, and its text names the address again."""
_CACHES_STATISTICS = (8, 0)
"""The first version of MySQL that keeps what it tells of tables for a day."""
_VALUES = {
    "time_zone": "'+00:00'",
    "sql_mode": "''",
    "sql_auto_is_null": "0",
    "sql_select_limit": "18446744073709551615",  # DEFAULT is what is set for the server
    "sql_big_selects": "1",
    "sql_safe_updates": "0",
    "div_precision_increment": "4",
    "lc_time_names": "'en_US'",
    "sql_quote_show_create": "1",
    "transaction_isolation": "'REPEATABLE-READ'",
    "transaction_read_only": "1",
}
"""Settings that decide how a value or a name is written, or which rows a statement returns."""
_FOR_OUTBOX = {"transaction_isolation": "'READ-COMMITTED'", "transaction_read_only": "0"}
_MARIADB_NAMES = {"transaction_isolation": "tx_isolation", "transaction_read_only": "tx_read_only"}


class MysqlConnection:
    """The connection of one source: opened when it is needed, and again after any failure."""

    def __init__(self, name: str, options: TableSourceOptions) -> None:
        self._name = name
        self._options = options
        self._timeout = options.statement_timeout
        url = make_url(options.url)
        self.place = f"database {url.host}:{url.port or 3306}/{url.database}, {options.described}"
        self.database = str(url.database)
        arguments: dict[str, Any] = {"charset": "utf8mb4", "connect_timeout": _CONNECT_TIMEOUT, "autocommit": True}
        with _tls_errors():
            if options.tls is not None:
                arguments["ssl"] = tls_context(options.tls)
        password = os.environ.get("MYSQL_PWD", "") if options.password is None else options.password.get_secret_value()
        # Nothing is ever written upstream, but for the rows of an outbox.
        self._writable = options.mode == "outbox"
        self._engine = create_async_engine(
            URL.create("mysql+asyncmy", url.username, password, url.host, url.port, url.database),
            poolclass=NullPool,
            connect_args=arguments,
            hide_parameters=True,
        )
        trace_engine(self._engine.sync_engine, database_attributes("mysql", self.database, url.host, url.port or 3306))
        self._connection: AsyncConnection | None = None
        self.opened = 0
        """How often the connection was opened."""
        self.on_mariadb = True
        self.version: tuple[int, ...] = ()

    async def fetch(
        self, statement: str, arguments: Sequence[object] = (), timeout: float | None = None
    ) -> Sequence[Any]:
        """Return all rows of a statement. In it, `%s` is an argument, and a percent sign is doubled.

        `timeout` is in seconds; by default it is four fifths of `poll_timeout`, which the server applies as well.

        Raises:
            Unavailable: the server does not answer, or the statement failed or took too long.
            Unauthorized: the server refuses the account, or the account lacks a privilege.
        """
        async with self._answering(timeout) as connection:
            return await self._fetch(connection, statement, arguments)

    async def describe(self, statement: str) -> list[tuple[str, int]]:
        """Return name and type of each column of a statement, without its rows: the type is a number of the protocol.

        Raises what `fetch` raises.
        """
        async with self._answering() as connection:
            result = await connection.exec_driver_sql(statement)
            columns: Sequence[Any] = result.cursor.description
            described = [(str(name), int(type_)) for name, type_, *_ in columns]
            result.close()
            return described

    @asynccontextmanager
    async def _answering(self, timeout: float | None = None) -> AsyncIterator[AsyncConnection]:
        with self._errors():
            try:
                async with asyncio.timeout(self._timeout + _GRACE if timeout is None else timeout):
                    yield await self._connected()
            except BaseException:
                await self.close()
                raise

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        """Let all statements of the body see the same state of the database."""
        await self.fetch("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        try:
            yield
        finally:
            if self._connection is not None:
                await self.fetch("COMMIT")

    async def close(self) -> None:
        """Close the connection without waiting for the server."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    async def _connected(self) -> AsyncConnection:
        if self._connection is None:
            connection = await self._engine.connect()
            try:
                connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
                await self._prepare(connection)
            except BaseException:
                await connection.invalidate()
                await connection.close()
                raise
            self._connection = connection
            self.opened += 1
        return self._connection

    async def _prepare(self, connection: AsyncConnection) -> None:
        ((version,),) = await self._fetch(connection, "SELECT VERSION()")
        self.on_mariadb = "MariaDB" in version
        self.version = tuple(int(part) for part in version.partition("-")[0].split(".")[:2])
        settings = _VALUES | (_FOR_OUTBOX if self._writable else {})
        if self.on_mariadb:
            settings = {_MARIADB_NAMES.get(name, name): value for name, value in settings.items()}
            settings["max_statement_time"] = f"{self._timeout:f}"
        else:
            settings["max_execution_time"] = str(int(self._timeout * 1000))
            if self.version >= _CACHES_STATISTICS:
                settings["information_schema_stats_expiry"] = "0"  # the next key, as it is now
        await self._fetch(connection, f"SET SESSION {', '.join(f'{name} = {settings[name]}' for name in settings)}")

    @staticmethod
    async def _fetch(connection: AsyncConnection, statement: str, arguments: Sequence[object] = ()) -> Sequence[Any]:
        result = await connection.exec_driver_sql(statement, tuple(arguments))
        return result.fetchall() if result.returns_rows else []

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with settings_errors(self._name):
                yield
        except TimeoutError as exc:
            raise Unavailable(f"{self.place}: no answer in time") from exc
        except DBAPIError as exc:
            code, text = _described(exc)
            raise (Unauthorized if code in _UNAUTHORIZED else Unavailable)(f"{self.place}: {text}") from exc
        except OSError as exc:
            raise Unavailable(f"{self.place}: {exc.strerror or exc}") from exc


def _described(error: DBAPIError) -> tuple[int, str]:
    """Return number and text of an error of the server or of the client."""
    arguments: tuple[Any, ...] = getattr(error.orig, "args", ())
    if len(arguments) > 1 and isinstance(arguments[0], int):
        number = arguments[0]
        if number in _LOST:
            return number, "no answer in time" if timed_out(error) else underlying_reason(error) or str(arguments[1])
        return number, str(arguments[1])
    return 0, str(error.orig)


@contextmanager
def _tls_errors() -> Iterator[None]:
    try:
        yield
    except SettingsError as exc:
        raise SettingsError(str(exc).removeprefix("database.")) from exc
