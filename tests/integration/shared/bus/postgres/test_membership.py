"""Members that die, leave, or run twice."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import psutil
import pytest

from services.standalone.embedded.postgres import PostgresServer
from shared.bus.postgres import PostgresBus, PostgresBusOptions, connect_postgres, membership
from shared.bus.protocol import Bus, TopicOptions
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from tests.contracts.bus.groups import Journal, JournalWorker

ALL = {0, 1, 2, 3}


@asynccontextmanager
async def member(database: DatabaseOptions, topic: str, name: str, journal: Journal) -> AsyncIterator[Bus]:
    async with (
        connect_postgres(PostgresBusOptions(), database) as bus,
        bus.join(topic, "g", name, JournalWorker(journal, name)),
    ):
        yield bus


async def test_the_partitions_of_a_dead_member_move_in_time(
    migrated_database: DatabaseOptions, bus: PostgresBus, topic: str, sql: asyncpg.Connection
) -> None:
    # As left by a member that has just died.
    partitions = (await bus._topics.get(topic)).partitions
    began = time.monotonic()
    await sql.execute(
        "INSERT INTO trelay.leases (name, owner, epoch, expires_at)"
        " VALUES ('group/topic/g/dead', 'dead', 7, clock_timestamp() + interval '6 s')"
    )
    await sql.executemany(
        "INSERT INTO trelay.bus_claims VALUES ('g', $1, 'group/topic/g/dead', 7)", [(each,) for each in partitions]
    )
    journal = Journal()
    async with member(migrated_database, topic, "successor", journal):
        await journal.until(lambda: bool(journal.of("successor")))
        assert time.monotonic() - began >= 6.0
        await journal.until(lambda: journal.of("successor") == ALL)


async def test_a_member_that_leaves_releases_its_partitions_at_once(
    migrated_database: DatabaseOptions, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "_POLL_INTERVAL", 600.0)  # no member checks without a notification
    journal = Journal()
    async with member(migrated_database, topic, "a", journal):
        await journal.until(lambda: journal.of("a") == ALL)
        async with member(migrated_database, topic, "b", journal):
            await journal.until(lambda: len(journal.of("a")) == len(journal.of("b")) == 2)
        await journal.until(lambda: journal.of("a") == ALL)
    assert journal.conflicts == []


async def test_of_two_members_of_one_name_the_newer_stays(migrated_database: DatabaseOptions, topic: str) -> None:
    older, newer = Journal(), Journal()
    async with member(migrated_database, topic, "a", older):
        await older.until(lambda: older.of("a") == ALL)
        async with member(migrated_database, topic, "a", newer):
            await newer.until(lambda: newer.of("a") == ALL)
            await older.until(lambda: older.of("a") == set())
            starts = sum(newer.starts.values())
            await asyncio.sleep(8.0)  # longer than a lease: that it stays so has no event to wait for
            assert newer.of("a") == ALL
            assert older.of("a") == set()
            assert sum(newer.starts.values()) == starts
        await older.until(lambda: older.of("a") == ALL)


async def test_a_member_whose_server_does_not_answer_stops_in_time(own_postgres: PostgresServer) -> None:
    database = DatabaseOptions(url=own_postgres.dsn(), statement_timeout=300)
    await migrate(database)
    async with connect_postgres(PostgresBusOptions(), database) as bus:
        await bus.ensure_topics([TopicOptions(name="topic", partitions=4)])
    journal = Journal()
    async with member(database, "topic", "a", journal):
        await journal.until(lambda: journal.of("a") == ALL)
        server = psutil.Process(own_postgres.pid)
        processes = [server, *server.children()]
        for process in processes:
            process.suspend()
        try:
            began = time.monotonic()
            await journal.until(lambda: journal.of("a") == set())
            assert time.monotonic() - began < 60  # 5 on an idle machine; 300 if it waited for the server
        finally:
            for process in processes:
                process.resume()
        await journal.until(lambda: journal.of("a") == ALL)


async def test_names_with_separators_do_not_mix_up_groups(migrated_database: DatabaseOptions, topic: str) -> None:
    one, two = Journal(), Journal()
    async with (
        connect_postgres(PostgresBusOptions(), migrated_database) as bus,
        bus.join(topic, "g", "x/m", JournalWorker(one, "x/m")),
        bus.join(topic, "g/x", "m", JournalWorker(two, "m")),
    ):
        await one.until(lambda: one.of("x/m") == ALL)
        await two.until(lambda: two.of("m") == ALL)
