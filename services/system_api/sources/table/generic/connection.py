"""A connection to a database through SQLAlchemy, opened when it is needed, and the translation of its errors."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, Connection, Executable, inspect, text
from sqlalchemy.exc import DBAPIError, NoSuchTableError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from services.system_api.sources.table.generic.dialects import Dialect
from services.system_api.sources.table.generic.shape import Found
from services.system_api.sources.table.options import TableSourceOptions, settings_errors
from services.system_api.sources.table.sql import identifiers
from shared.database.arguments import tls_context
from shared.errors import SettingsError, Unauthorized, Unavailable

ODBC_DRIVER = "ODBC Driver 18 for SQL Server"


class Reads(Protocol):
    """What a reader needs of a connection. Every method may raise `Unavailable`, and works again when called again."""

    async def found(self) -> Found:
        """Return what the database tells of the table."""
        ...

    async def fetch(self, statement: Executable, timeout: float | None = None) -> Sequence[Any]:
        """Return all rows of a statement, within `timeout` seconds."""
        ...

    async def read(self, statement: Executable, take: Callable[[Any], bool]) -> None:
        """Give the rows of a statement to `take` one by one, until it returns that it wants no more."""
        ...


class GenericConnection:
    """The connection of one source; see `Reads`."""

    def __init__(self, name: str, options: TableSourceOptions, dialect: Dialect) -> None:
        self._name = name
        self._options = options
        self._dialect = dialect
        self._timeout = options.statement_timeout
        url, arguments = arguments_of(options, dialect)
        self.place = f"{dialect.title} at {options.hosts[0]}, {options.described}"
        self._engine = create_async_engine(
            url,
            poolclass=NullPool,
            connect_args=arguments,
            hide_parameters=True,
        )
        self._connection: AsyncConnection | None = None

    async def found(self) -> Found:
        """See `Reads`."""
        async with self._answering() as connection:
            try:
                return await connection.run_sync(lambda sync: _reflected(sync, self._options.table))
            except NoSuchTableError as exc:
                raise SettingsError(
                    f"table: {self._options.table!r} does not exist, or the account may not read it"
                ) from exc

    async def fetch(self, statement: Executable, timeout: float | None = None) -> Sequence[Any]:
        """See `Reads`."""
        async with self._answering(timeout) as connection:
            return (await connection.execute(statement)).fetchall()

    async def read(self, statement: Executable, take: Callable[[Any], bool]) -> None:
        """See `Reads`."""
        async with self._answering() as connection, connection.stream(statement) as result:
            async for row in result:
                if not take(row):
                    return

    async def close(self) -> None:
        """Close the connection without waiting for the server."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    @asynccontextmanager
    async def _answering(self, timeout: float | None = None) -> AsyncIterator[AsyncConnection]:
        with self._errors():
            try:
                async with asyncio.timeout(self._timeout if timeout is None else timeout):
                    yield await self._connected()
            except BaseException:
                await self.close()
                raise

    async def _connected(self) -> AsyncConnection:
        if self._connection is None:
            connection = await self._engine.connect()
            # Each statement is a transaction of its own, and nothing is ever written.
            self._connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await self._connection.execute(text(self._dialect.version))
        return self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with settings_errors(self._name):
                yield
        except TimeoutError as exc:
            raise Unavailable(f"{self.place}: no answer in time") from exc
        except DBAPIError as exc:
            found = str(exc.orig)
            refused = any(part in found for part in self._dialect.unauthorized)
            raise (Unauthorized if refused else Unavailable)(f"{self.place}: {found}") from exc
        except SQLAlchemyError as exc:
            raise Unavailable(f"{self.place}: {exc}") from exc
        except OSError as exc:
            raise Unavailable(f"{self.place}: {exc.strerror or exc}") from exc


def arguments_of(options: TableSourceOptions, dialect: Dialect) -> tuple[URL, dict[str, Any]]:
    """Return the URL of the database for SQLAlchemy, and what its driver gets beside it."""
    parts = urlsplit(options.url)
    password = None if options.password is None else options.password.get_secret_value()
    host, port, name = parts.hostname, parts.port or dialect.default_port, parts.path.strip("/")
    user = None if parts.username is None else unquote(parts.username)
    if dialect.extra == "mssql":
        trusted = options.tls is not None and not options.tls.verify
        query = {"driver": ODBC_DRIVER, "ApplicationIntent": "ReadOnly", "Encrypt": "yes"}
        query["TrustServerCertificate"] = "yes" if trusted else "no"
        return URL.create(dialect.driver, user, password, host, port, name, query), {}
    arguments: dict[str, Any] = {
        "user": user,
        "password": password,
        "host": host,
        "port": port,
        "service_name": name,
    }
    if options.tls is not None:
        arguments |= {"protocol": "tcps", "ssl_context": tls_context(options.tls)}
    return URL.create(dialect.driver), arguments


def _reflected(connection: Connection, relation: str) -> Found:
    *schemas, name = identifiers(relation)
    schema = schemas[0] if schemas else None
    inspector = inspect(connection)
    columns = [(each["name"], each["type"]) for each in inspector.get_columns(name, schema)]
    unique = [
        inspector.get_pk_constraint(name, schema)["constrained_columns"],
        *(each["column_names"] for each in inspector.get_unique_constraints(name, schema)),
    ]
    for index in inspector.get_indexes(name, schema):
        names = [column for column in index["column_names"] if column is not None]
        if index["unique"] and len(names) == len(index["column_names"]):  # and not of an expression
            unique.append(names)
    return Found(columns, [each for each in unique if each], view=name in inspector.get_view_names(schema))
