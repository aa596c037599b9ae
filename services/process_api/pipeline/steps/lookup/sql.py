"""Looks keys up in a database: one query for the keys of a batch, by SQLAlchemy."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, bindparam, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.lookup.keys import Key, encoded, name_of
from services.process_api.pipeline.steps.lookup.options import SqlLookup
from services.process_api.pipeline.steps.lookup.sql_errors import (
    is_error_of_sqlite,
    is_interruption_of_sqlite,
    translated,
)
from shared.database.arguments import tls_context
from shared.database.engine import trace_engine
from shared.database.spans import database_attributes
from shared.errors import Malformed, Unavailable
from shared.expression.nodes import Raw
from shared.runtime.extras import extra

_CHUNK = 100
"""Rows that are read at once: of large ones, so many fit into the memory."""

_BYTES = 64 * 1_048_576
"""Bytes of texts and binaries in one answer at most."""

_STEPS = 10_000
"""Instructions of SQLite between two looks at the clock."""


class SqlBackend:
    """One query of one database."""

    def __init__(self, options: SqlLookup, context: StepContext) -> None:
        self._options = options
        self._statement = text(options.query).bindparams(bindparam("keys", expanding=True))
        self._place = f"process.pipelines.{context.pipeline}.{context.place}"
        url = make_url(options.url)
        self._address = options.sqlite_file or f"{url.host}:{url.port or ''}/{url.database}".replace(":/", "/")
        self._engine: AsyncEngine | None = None
        self._file: Engine | None = None
        context.closing.push_async_callback(self._close)

    async def fetch(self, keys: Sequence[Key]) -> Mapping[str, bytes]:
        """Query the rows of these keys; raises as `Backend.fetch` does."""
        values = [key.value for key in keys]
        try:
            async with asyncio.timeout(self._options.timeout):
                if self._options.sqlite_file is not None:
                    columns, rows = await asyncio.to_thread(self._read_file, self._options.sqlite_file, values)
                else:
                    columns, rows = await self._read(values)
        except TimeoutError as exc:
            raise self._no_answer from exc
        except (SQLAlchemyError, OSError) as exc:
            if is_interruption_of_sqlite(exc):
                raise self._no_answer from exc
            found = translated(f"database {self._address}", exc)
            if is_error_of_sqlite(exc) and await self._works_without_keys():
                found = Malformed(f"{found}; the query refuses the key")
            raise found from exc
        return self._by_key(columns, rows)

    @property
    def _no_answer(self) -> Unavailable:
        return Unavailable(f"database {self._address}: no answer within {self._options.timeout:g} s")

    async def _works_without_keys(self) -> bool:
        """Return whether SQLite can run the query where it has no row: then it failed on a row before."""
        assert self._options.sqlite_file is not None, "the error is of SQLite"
        try:
            await asyncio.to_thread(self._read_file, self._options.sqlite_file, ())
        except (SQLAlchemyError, Unavailable):
            return False
        return True

    async def _read(self, values: Sequence[Any]) -> tuple[list[str], list[Any]]:
        if self._engine is None:
            self._engine = _engine(self._options, self._place)
        async with self._engine.connect() as connection:
            result = await connection.stream(self._statement, {"keys": values}, execution_options={"yield_per": _CHUNK})
            answer = _Answer(self._address, self._options.row_limit)
            async for some in result.partitions():
                answer.add(some)
            return list(result.keys()), answer.rows

    def _read_file(self, path: str, values: Sequence[Any]) -> tuple[list[str], list[Any]]:
        if self._file is None:
            if not Path(path).exists():
                raise Unavailable(f"database {path}: no such file")
            address = URL.create("sqlite", database=f"file:{path}", query={"mode": "ro", "uri": "true"})
            arguments = {"check_same_thread": False, "timeout": self._options.timeout}
            self._file = create_engine(address, connect_args=arguments, hide_parameters=True)
        with self._file.connect() as connection:
            # Nothing else ends the thread of a query that nobody waits for any more.
            deadline = time.monotonic() + self._options.timeout
            sqlite: Any = connection.connection.driver_connection
            sqlite.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            result = connection.execute(self._statement, {"keys": values})
            answer = _Answer(self._address, self._options.row_limit)
            for some in result.partitions(_CHUNK):
                answer.add(some)
            return list(result.keys()), answer.rows

    def _by_key(self, columns: list[str], rows: Sequence[Any]) -> Mapping[str, bytes]:
        wanted = self._options.key_column
        if wanted is not None and wanted not in columns:
            raise Unavailable(f"database {self._address}: the query has no column {wanted!r} (see `key_column`)")
        at = 0 if wanted is None else columns.index(wanted)
        found: dict[str, list[bytes]] = {}
        for row in rows:
            found.setdefault(name_of(row[at]), []).append(encoded(dict(zip(columns, row, strict=True))))
        if self._options.rows == "one":
            return {name: written[0] for name, written in found.items()}
        return {name: encoded([Raw(one) for one in written]) for name, written in found.items()}

    async def _close(self) -> None:
        if self._engine is not None:
            await self._engine.dispose()
        if self._file is not None:
            await asyncio.to_thread(self._file.dispose)


class _Answer:
    """The rows of a query, within limits."""

    def __init__(self, address: str, row_limit: int) -> None:
        self.rows: list[Any] = []
        self._address = address
        self._row_limit = row_limit
        self._bytes = 0

    def add(self, rows: Sequence[Any]) -> None:
        """Add rows.

        Raises:
            Malformed: they are too many, or too large.
        """
        self.rows += rows
        self._bytes += sum(len(value) for row in rows for value in row if isinstance(value, str | bytes))
        if len(self.rows) > self._row_limit:
            raise Malformed(f"database {self._address}: more than {self._row_limit} rows (see `row_limit`)")
        if self._bytes > _BYTES:
            raise Malformed(
                f"database {self._address}: rows of more than {_BYTES} bytes; expected fewer columns or rows"
            )


def _engine(options: SqlLookup, place: str) -> AsyncEngine:
    url = make_url(options.url)
    # Never None: asyncpg would read files in the home folder each time, on the event loop.
    password = "" if options.password is None else options.password.get_secret_value()
    arguments: dict[str, Any] = {}
    if url.get_backend_name() in {"postgresql", "postgres"}:
        driver = "postgresql+asyncpg"
        arguments = {"ssl": tls_context(options.tls) if options.tls else False, "timeout": options.timeout}
        arguments["password"] = password
        arguments["server_settings"] = {"default_transaction_read_only": "on", "application_name": "trelay"}
    else:
        driver = "mysql+asyncmy"
        with extra("mysql", f"{place}.sql.url"):
            __import__("asyncmy")
        arguments = {"charset": "utf8mb4", "connect_timeout": options.timeout}
        if options.tls is not None:
            arguments["ssl"] = tls_context(options.tls)
    engine = create_async_engine(
        URL.create(driver, url.username, password, url.host, url.port, url.database, url.query),
        pool_size=options.pool_size,
        max_overflow=0,
        pool_timeout=options.timeout,
        connect_args=arguments,
        hide_parameters=True,
    )
    system = driver.partition("+")[0]
    trace_engine(engine.sync_engine, database_attributes(system, url.database or "", url.host, url.port))
    return engine
