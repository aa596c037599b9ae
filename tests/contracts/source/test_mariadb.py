"""Tables in MariaDB, in each mode."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import asyncmy
import pytest

from services.system_api.sources.table.opening import TableSourceKind
from tests.contracts.source.suite import SourceContract
from tests.contracts.source.test_tables import MODES, options
from tests.contracts.source.upstream import record
from tests.servers.mariadb import MariaDb, mariadb_server
from tests.servers.missing import skipping_without
from tests.servers.proxy import Proxy


class MariaDbTable:
    exactly_once = True

    def __init__(self, proxy: Proxy, server: MariaDb, name: str, connection: Any, settings: dict[str, Any]) -> None:
        self.outage = proxy.outage
        self.slow = proxy.slow
        self._url = server.url(name).replace(f":{server.port}/", f":{proxy.port}/")
        self._connection = connection
        self._settings = settings

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, server: MariaDb, name: str, settings: dict[str, Any]) -> AsyncIterator["MariaDbTable"]:
        connection = await asyncmy.connect(host="127.0.0.1", port=server.port, user="trelay", autocommit=True)
        try:
            async with Proxy.before("127.0.0.1", server.port) as proxy:
                table = cls(proxy, server, name, connection, settings)
                await table.run(f"CREATE DATABASE {name} COLLATE utf8mb4_bin")
                await table.run(f"USE {name}")
                await table.run("SET SESSION time_zone = '+00:00'")
                await table.run(
                    "CREATE TABLE numbers (id bigint AUTO_INCREMENT PRIMARY KEY, n int, k varchar(9), at timestamp(6)"
                    " NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), KEY (at, id))"
                )
                yield table
                await table.run(f"DROP DATABASE {name}")
        finally:
            await connection.ensure_closed()

    def options(self) -> TableSourceKind:
        return options(self._url, **self._settings)

    async def write(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            await self.run("INSERT INTO numbers (n, k) VALUES (%s, %s)", number, record(number)["k"])

    async def write_poison(self) -> None:
        await self.run("INSERT INTO numbers (n, k) VALUES (-1, NULL)")

    async def run(self, statement: str, *values: object) -> None:
        async with self._connection.cursor() as cursor:
            await cursor.execute(statement, values or None)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[MariaDb]:
    with skipping_without("MariaDB", request.config), mariadb_server() as running:
        yield running


class TestMariaDb(SourceContract):
    @pytest.fixture(params=MODES)
    async def upstream(
        self, request: pytest.FixtureRequest, server: MariaDb, unique_name: str
    ) -> AsyncIterator[MariaDbTable]:
        name = unique_name.replace("-", "_").lower()
        async with MariaDbTable.opened(server, name, MODES[request.param]) as upstream:
            yield upstream
