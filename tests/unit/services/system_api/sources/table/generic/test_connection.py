"""How a driver is called, what is read of a table's definition, and how errors are told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import DBAPIError, NoSuchTableError, SQLAlchemyError

from services.system_api.sources.table.generic import connection as module
from services.system_api.sources.table.generic.connection import GenericConnection, arguments_of
from services.system_api.sources.table.generic.dialects import ORACLE, SQL_SERVER
from services.system_api.sources.table.options import TableSourceOptions
from shared.errors import SettingsError, Unauthorized, Unavailable


def options(url: str, **more: Any) -> TableSourceOptions:
    given = {"kind": "table", "url": url, "table": "shop.orders", "type": "t", "overlap": 5, **more}
    return TableSourceOptions.model_validate(given)


def test_sql_server_is_reached_by_odbc_with_tls() -> None:
    url, arguments = arguments_of(options("mssql://an%40a:pa%2Fss@db.example/shop"), SQL_SERVER)
    assert (url.drivername, url.username, url.password, url.host, url.port, url.database) == (
        "mssql+aioodbc", "an@a", "pa/ss", "db.example", 1433, "shop"
    )  # fmt: skip
    assert url.query == {
        "driver": "ODBC Driver 18 for SQL Server",
        "ApplicationIntent": "ReadOnly",
        "Encrypt": "yes",
        "TrustServerCertificate": "no",
    }
    assert arguments == {}
    url, _ = arguments_of(options("mssql://a@db:1500/shop", tls={"verify": False}), SQL_SERVER)
    assert (url.port, url.query["TrustServerCertificate"]) == (1500, "yes")


def test_oracle_is_reached_by_its_service() -> None:
    url, arguments = arguments_of(options("oracle://a:b@db.example/SHOP"), ORACLE)
    assert (url.drivername, url.host) == ("oracle+oracledb_async", None)
    assert arguments == {"user": "a", "password": "b", "host": "db.example", "port": 1521, "service_name": "SHOP"}
    _, arguments = arguments_of(options("oracle://db/SHOP", tls={}), ORACLE)
    assert (arguments["user"], arguments["protocol"]) == (None, "tcps")
    assert arguments["ssl_context"].check_hostname


def test_columns_and_unique_indexes_are_read() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        for statement in (
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, a TEXT, b TEXT, UNIQUE (a, b))",
            "CREATE UNIQUE INDEX i ON orders (b)",
            "CREATE INDEX n ON orders (a)",
            "CREATE VIEW v AS SELECT * FROM orders",
        ):
            connection.execute(text(statement))
        found = module._reflected(connection, "orders")
        assert [name for name, _ in found.columns] == ["id", "a", "b"]
        assert [list(each) for each in found.unique] == [["id"], ["a", "b"], ["b"]]
        assert not found.view
        assert module._reflected(connection, "v").view
    engine.dispose()


class FakeServer:
    """What SQLAlchemy makes of a server: rows, errors, and connections that were closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: BaseException | None = None
        self.rows: list[Any] = [(1,), (2,), (3,)]
        self.hangs = False
        self.opened = self.closed = 0
        monkeypatch.setattr(module, "create_async_engine", lambda *_, **__: self)

    async def connect(self) -> "FakeServer":
        self.opened += 1
        return self

    async def execution_options(self, isolation_level: str) -> "FakeServer":
        assert isolation_level == "AUTOCOMMIT"
        return self

    async def execute(self, _: Any) -> "FakeServer":
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return self

    def fetchall(self) -> list[Any]:
        return self.rows

    @asynccontextmanager
    async def stream(self, _: Any) -> AsyncIterator[Any]:
        async def rows() -> AsyncIterator[Any]:
            for row in self.rows:
                yield row

        yield rows()

    async def run_sync(self, _: Any) -> Any:
        assert self.error is not None
        raise self.error

    async def invalidate(self) -> None:
        self.closed += 1

    async def close(self) -> None:
        pass


def connection() -> GenericConnection:
    return GenericConnection("s", options("mssql://a@db/shop", poll_timeout=0.05), SQL_SERVER)


async def test_rows_are_fetched_and_read_until_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer(monkeypatch)
    opened, taken = connection(), list[Any]()
    assert list(await opened.fetch(select(1))) == server.rows

    def take(row: Any) -> bool:
        taken.append(row)
        return len(taken) < 2

    await opened.read(select(1), take)
    assert taken == [(1,), (2,)]
    await opened.read(select(1), lambda _: True)
    assert (server.opened, server.closed) == (1, 0)
    await opened.close()
    await opened.close()
    assert server.closed == 1


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [
        (DBAPIError("x", None, Exception("(18456) Login failed for user 'a'")), Unauthorized, "Login failed"),
        (DBAPIError("x", None, Exception("deadlock")), Unavailable, "SQL Server at db, table shop.orders: deadlock"),
        (SQLAlchemyError("no such thing"), Unavailable, "no such thing"),
        (OSError(111, "Connection refused"), Unavailable, "Connection refused"),
    ],
    ids=["refused", "failed", "sqlalchemy", "os"],
)
async def test_an_error_closes_the_connection_and_the_next_call_opens_another(
    monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception], said: str
) -> None:
    server = FakeServer(monkeypatch)
    opened = connection()
    await opened.fetch(select(1))
    server.error = error
    with pytest.raises(raised, match=said):
        await opened.fetch(select(1))
    server.error = None
    assert list(await opened.fetch(select(1))) == server.rows
    assert (server.opened, server.closed) == (2, 1)


async def test_a_server_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer(monkeypatch)
    server.hangs = True
    with pytest.raises(Unavailable, match="no answer in time"):
        await connection().fetch(select(1), 0.01)


async def test_a_table_that_does_not_exist_is_a_fault_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer(monkeypatch)
    opened = connection()
    await opened.fetch(select(1))
    server.error = NoSuchTableError("orders")
    with pytest.raises(SettingsError, match=r"system\.sources\.s\.table: 'shop\.orders' does not exist"):
        await opened.found()
