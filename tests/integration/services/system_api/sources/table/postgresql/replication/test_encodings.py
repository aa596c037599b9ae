"""Databases of other encodings: text that has none in UTF-8 is put aside, and stops nothing."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.services.system_api.sources.table.postgresql.replication.log_poller import poller_of, settled
from tests.integration.services.system_api.sources.table.table_poller import connected, encoded_database
from tests.servers.databases import Databases
from tests.servers.postgres import Postgres


@pytest.fixture(params=["SQL_ASCII", "WIN1252", "LATIN1"])
async def encoded(logical_postgres: Postgres, request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, str]]:
    """The encoding of a database, and its DSN."""
    async with encoded_database(logical_postgres, request.param) as dsn:
        try:
            yield request.param, dsn
        finally:
            await Databases(logical_postgres).drop_slots(dsn)


async def test_text_that_utf_8_does_not_have_is_put_aside(encoded: tuple[str, str]) -> None:
    encoding, dsn = encoded
    async with connected(dsn) as upstream:
        await upstream.execute('CREATE TABLE orders (id int PRIMARY KEY, prénom text, "größe" int)')
        poller = poller_of(dsn)
        await settled(poller)
        await upstream.execute("INSERT INTO orders VALUES (1, 'é', 1)")
        await upstream.execute("INSERT INTO orders VALUES (2, E'\\x81', 2), (3, 'ü', 3), (4, E'a\\x9d', 4)")
        await upstream.execute("UPDATE orders SET größe = 5 WHERE id = 3")
        await settled(poller)
        await upstream.execute("INSERT INTO orders VALUES (5, 'è', 5)")
        await settled(poller)
    found = [tuple(event["data"].values()) for event in poller.events]
    good = [(1, "é", 1), (3, "ü", 3), (3, "ü", 5), (5, "è", 5)]
    if encoding == "LATIN1":  # it has them all
        assert found == [good[0], (2, "\x81", 2), good[1], (4, "a\x9d", 4), *good[2:]]
        assert poller.rejects == []
    else:
        assert found == good
        assert len(poller.rejects) == 2
        assert all("encoding" in error for _, error in poller.rejects)
        assert [place.partition("@")[0] for place, _ in poller.rejects] == ["orders:2", "orders:4"]


async def test_a_key_that_utf_8_does_not_have_is_put_aside(encoded: tuple[str, str]) -> None:
    encoding, dsn = encoded
    async with connected(dsn) as upstream:
        await upstream.execute("CREATE TABLE orders (id text PRIMARY KEY, v int)")
        poller = poller_of(dsn)
        await settled(poller)
        await upstream.execute("INSERT INTO orders VALUES ('é', 1), (E'\\x81', 2), ('c', 3)")
        await upstream.execute("UPDATE orders SET id = 'd' WHERE v = 2; DELETE FROM orders WHERE id = 'é'")
        await settled(poller)
    states = [(event["subject"], event["data"].get("v")) for event in poller.events]
    if encoding != "LATIN1":
        assert states == [("é", 1), ("c", 3), ("d", 2), ("é", None)]
        assert len(poller.rejects) == 2, "the state, and the deletion of the key"
    else:
        assert states == [("é", 1), ("\x81", 2), ("c", 3), ("\x81", None), ("d", 2), ("é", None)]
