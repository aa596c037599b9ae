"""What the database notes of connections."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.experience_api.presence.store import PresenceStore
from shared.database.options import DatabaseOptions
from shared.database.pool import ConnectionPool
from shared.errors import Unavailable

_INSERT = """
INSERT INTO trelay.connections (client_id, connection_id, node, node_epoch, epoch, remote)
VALUES ($1, $2, 'one', 1, 1, '::1')
ON CONFLICT (client_id) DO UPDATE SET connection_id = excluded.connection_id, connected_at = now()
"""


@pytest.fixture
async def store(migrated_database: DatabaseOptions) -> AsyncIterator[PresenceStore]:
    async with ConnectionPool.opened(migrated_database, size=1, purpose="test") as pool:
        yield PresenceStore(pool)


@pytest.fixture
async def database(migrated_database: DatabaseOptions) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(migrated_database.url)
    await connection.execute("INSERT INTO trelay.clients (client_id, secret_hash, channels) VALUES ('a', '', '{**}')")
    await connection.execute("INSERT INTO trelay.consumers (client_id, token_hash) VALUES ('a', '\\x00')")
    yield connection
    await connection.close()


async def claim(database: asyncpg.Connection) -> UUID:
    connection_id = uuid4()
    await database.execute(_INSERT, "a", connection_id)
    return connection_id


async def seen(store: PresenceStore) -> list[tuple[str, UUID]]:
    return [(each.kind, each.connection_id) for each in await store.noted(100)]


async def test_nothing_is_noted_before_it_begins_and_who_is_there_then(
    store: PresenceStore, database: asyncpg.Connection
) -> None:
    first = await claim(database)
    assert await seen(store) == []
    await store.begin()
    await store.begin()
    assert await seen(store) == [("came", first)]


async def test_each_claim_and_its_end_are_noted_in_order(store: PresenceStore, database: asyncpg.Connection) -> None:
    await store.begin()
    first = await claim(database)
    await database.execute("UPDATE trelay.connections SET remote = '::2'")
    second = await claim(database)
    await database.execute("DELETE FROM trelay.consumers")  # takes the claim with it
    expected = [("came", first), ("left", first), ("came", second), ("left", second)]
    assert await seen(store) == expected
    noted = await store.noted(3)
    await store.forget(noted)
    assert await seen(store) == expected[3:]
    assert {(each.client_id, each.connected_at <= each.at) for each in noted} == {("a", True)}


async def test_a_claim_that_is_rolled_back_is_not_noted(store: PresenceStore, database: asyncpg.Connection) -> None:
    await store.begin()
    transaction = database.transaction()
    await transaction.start()
    await claim(database)
    await transaction.rollback()
    assert await seen(store) == []


async def test_noting_ends_without_a_publisher_and_begins_anew(
    store: PresenceStore, database: asyncpg.Connection
) -> None:
    await store.begin()
    first = await claim(database)
    await database.execute("UPDATE trelay.presence_noting SET noted_until = now()")
    await database.execute("DELETE FROM trelay.connections")
    second = await claim(database)
    assert await seen(store) == [("came", first)]
    await store.begin()
    assert await seen(store) == [("came", second)]


async def test_a_claim_in_progress_is_not_held_up(store: PresenceStore, database: asyncpg.Connection) -> None:
    transaction = database.transaction()
    await transaction.start()
    first = await claim(database)
    with pytest.raises(Unavailable, match="being claimed"):
        await asyncio.wait_for(store.begin(), 60)
    await transaction.commit()
    await store.begin()
    assert await seen(store) == [("came", first)]


async def test_keys_are_dropped(store: PresenceStore, database: asyncpg.Connection) -> None:
    insert = "INSERT INTO trelay.pushed_keys (digest, writer, round_number) VALUES ($1, 'w', 1)"
    for digest in (b"a", b"b"):
        await database.execute(insert, digest)
    await store.drop_keys([b"a", b"c"])
    assert await database.fetchval("SELECT array_agg(digest) FROM trelay.pushed_keys") == [b"b"]


async def test_it_tells_which_leases_of_replicas_have_ended(store: PresenceStore, database: asyncpg.Connection) -> None:
    await database.execute(
        "INSERT INTO trelay.leases (name, owner, epoch, expires_at) VALUES"
        " ('node/a', 'a', 1, now() + interval '1 hour'), ('node/b', 'b', 2, now() - interval '10 seconds'),"
        " ('source/c', 'a', 3, now())"
    )
    assert await store.nodes(5) == {("node/a", 1, False), ("node/b", 2, True)}
    assert await store.nodes(15) == {("node/a", 1, False), ("node/b", 2, False)}
