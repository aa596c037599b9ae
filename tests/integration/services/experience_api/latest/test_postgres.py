"""The tables of the latest events in a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest

from services.experience_api.hub.audience import interest_in
from services.experience_api.latest.postgres import PostgresLatestEvents, PostgresLatestStore
from services.experience_api.latest.ranges import ranges_of
from services.experience_api.latest.subjects import Batch, Change, Kept, digest_of
from services.experience_api.latest.view import Row, Shorter, Stale, View
from services.experience_api.wire.snapshot_cursor import START, Place
from shared.database.options import DatabaseOptions
from shared.database.pool import ConnectionPool
from shared.errors import Unavailable

KEPT = Kept(["**"], ["*.deleted"])
BOUNDS = {0: (0, 100), 1: (0, 100)}


@dataclass
class Tables:
    events: PostgresLatestEvents
    store: PostgresLatestStore
    view: View

    async def write(self, *changes: Change, before: dict[int, int] | None = None) -> None:
        """Write changes behind the stored positions, or behind others."""
        found = await self.events.view()
        assert found is not None
        batch = Batch(before or dict(enumerate(found.positions)))
        for change in changes:
            batch.changes[change.channel, change.digest] = change
            batch.after[change.partition] = change.offset + 1
        await self.store.write(self.view, batch)

    async def rows(self, *patterns: str, page_bytes: int = 1000) -> list[Row]:
        rows: list[Row] = []
        place = START
        for within in ranges_of(patterns):
            while True:
                page = await self.events.page(within, place, page_bytes)
                assert page.version == self.view.version
                rows += page.rows
                if page.rows:
                    place = page.rows[-1].place
                if page.complete:
                    break
        return rows


@pytest.fixture
async def tables(migrated_database: DatabaseOptions) -> AsyncIterator[Tables]:
    async with ConnectionPool.opened(migrated_database, size=2, purpose="test") as pool:
        store = PostgresLatestStore(pool)
        view = await store.begin("e", BOUNDS, KEPT, shorter=False)
        yield Tables(PostgresLatestEvents(pool), store, view)


def change(channel: str, subject: str, offset: int, *, event: bytes | None = b"{}", partition: int = 0) -> Change:
    return Change(channel, digest_of("/s", subject), partition, offset, event)


def offsets(rows: list[Row]) -> list[int]:
    return sorted(row.offset for row in rows)


async def test_nothing_is_there_before_it_begins(migrated_database: DatabaseOptions) -> None:
    async with ConnectionPool.opened(migrated_database, size=1, purpose="test") as pool:
        assert await PostgresLatestEvents(pool).view() is None


@pytest.mark.every_postgres
async def test_the_latest_event_of_each_subject_is_stored_and_a_deletion_removes_it(tables: Tables) -> None:
    await tables.write(change("a", "1", 0), change("a", "2", 1), change("b", "1", 5, partition=1))
    await tables.write(change("a", "1", 7, event=b'{"n":7}'), change("a", "2", 9, event=None))
    assert await tables.rows("**") == [
        Row(Place("a", digest_of("/s", "1")), 1, 0, 7, b'{"n":7}'),
        Row(Place("b", digest_of("/s", "1")), 1, 1, 5, b"{}"),
    ]
    assert await tables.events.view() == View("e", 1, 1, (10, 6), 0, 0)


async def test_a_batch_behind_other_positions_changes_nothing(tables: Tables) -> None:
    await tables.write(change("a", "1", 4))
    with pytest.raises(Stale):
        await tables.write(change("a", "1", 9), change("a", "2", 9, partition=1), before={0: 4, 1: 0})
    with pytest.raises(Stale):
        await tables.write(change("a", "1", 4), before={0: 0, 1: 0})
    assert offsets(await tables.rows("**")) == [4]
    found = await tables.events.view()
    assert found is not None
    assert found.positions == (5, 0)


async def test_of_two_writers_of_the_same_batch_one_has_an_effect(tables: Tables) -> None:
    before = {0: 0, 1: 0}
    found = await asyncio.gather(
        *(tables.write(change("a", "1", 1), change("b", "1", 2, partition=1), before=before) for _ in range(2)),
        return_exceptions=True,
    )
    assert [type(each) for each in found if each is not None] == [Stale]
    assert offsets(await tables.rows("**")) == [1, 2]


async def test_older_events_that_are_copied_again_replace_nothing(tables: Tables) -> None:
    await tables.write(change("a", "1", 7), change("a", "2", 8))
    tables.view = await tables.store.begin("e", BOUNDS, Kept(["**"], []), shorter=False)
    assert (tables.view.version, tables.view.positions) == (2, (0, 0))
    await tables.write(change("a", "1", 3), change("a", "2", 4, event=None), change("a", "3", 5))
    assert offsets(await tables.rows("**")) == [5, 7, 8]
    with pytest.raises(Stale):
        await tables.store.write(View("e", 1, 1, (6, 0), 0, 0), Batch({0: 6, 1: 0}, {0: 7}))


async def test_events_of_a_later_generation_replace_those_of_an_earlier_one(tables: Tables) -> None:
    await tables.write(change("a", "1", 7), change("a", "2", 8), change("a", "3", 9))
    tables.view = await tables.store.begin("another", {0: (0, 3)}, KEPT, shorter=False)
    assert tables.view == View("another", 2, 2, (0,), 0, 0)
    await tables.write(change("a", "1", 0), change("a", "2", 1, event=None))
    assert sorted((row.generation, row.offset) for row in await tables.rows("**")) == [(1, 9), (2, 0)]


async def test_what_is_not_kept_any_more_is_removed(tables: Tables) -> None:
    await tables.write(change("a.x", "1", 1), change("b", "1", 2))
    tables.view = await tables.store.begin("e", BOUNDS, Kept(["a.*"], []), shorter=False)
    assert [row.place.channel for row in await tables.rows("**")] == ["a.x"]


async def test_a_truncated_topic_is_believed_only_if_it_is_confirmed(tables: Tables) -> None:
    await tables.write(change("a", "1", 90))
    shorter = {0: (0, 10), 1: (0, 100)}
    with pytest.raises(Shorter):
        await tables.store.begin("e", shorter, KEPT, shorter=False)
    assert await tables.store.begin("e", shorter, KEPT, shorter=True) == View("e", 2, 2, (10, 0), 0, 0)


async def test_pages_are_bounded_in_bytes_and_a_larger_event_comes_alone(tables: Tables) -> None:
    large = b"x" * 3_000_000
    await tables.write(*(change("a", str(number), number, event=large) for number in range(3)))
    page = await tables.events.page(ranges_of(["a"])[0], START, 1000)
    assert len(page.rows) == 1
    assert not page.complete
    assert offsets(await tables.rows("a")) == [0, 1, 2]
    many = [change("b", str(number), number, event=b"y" * 100) for number in range(3, 1503)]
    await tables.write(*many)
    page = await tables.events.page(ranges_of(["b"])[0], START, 5000)
    assert len(page.rows) == 50
    page = await tables.events.page(ranges_of(["b"])[0], START, 10**9)
    assert (len(page.rows), page.complete) == (500, False)
    assert offsets(await tables.rows("b", page_bytes=10**9)) == list(range(3, 1503))


@pytest.mark.every_postgres
async def test_ranges_find_exactly_the_channels_that_match_in_their_order(tables: Tables) -> None:
    channels = ["B", "a", "a-b", "a-b.c", "a.b", "a.b-c", "a.b.c", "a.b.d", "a_b", "b", "b.x.c"]
    await tables.write(*(change(name, "1", number) for number, name in enumerate(channels)))
    for patterns in (
        ["**"],
        ["a"],
        ["a.*"],
        ["a.**"],
        ["*"],
        ["*.b.*"],
        ["a.b.*", "a", "B"],
        ["a.**", "a.b", "*.x.**"],
    ):
        found = [row.place.channel for row in await tables.rows(*patterns)]
        matching = interest_in(patterns)
        assert found == [name for name in sorted(channels) if matching.matches(name.encode())], patterns


async def test_a_database_that_is_not_migrated_is_unavailable(database: str) -> None:
    async with ConnectionPool.opened(DatabaseOptions(url=database), size=1, purpose="test") as pool:
        with pytest.raises(Unavailable, match="trelay migrate"):
            await PostgresLatestEvents(pool).view()


async def test_the_events_are_stored_with_room_for_their_replacements(migrated_database: DatabaseOptions) -> None:
    connection = await asyncpg.connect(migrated_database.url)
    options = await connection.fetchval("SELECT reloptions FROM pg_class WHERE relname = 'latest_events'")
    await connection.close()
    assert options == ["fillfactor=70"]
