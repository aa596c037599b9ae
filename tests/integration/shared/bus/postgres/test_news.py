"""How readers hear of commits: at once, elsewhere at once too, and in the end even if nobody tells them."""

import asyncio
import time

import asyncpg

from shared.bus.postgres import PostgresBus, PostgresBusOptions, connect_postgres
from shared.bus.protocol import TopicPartition, Transaction
from shared.database.options import DatabaseOptions
from tests.contracts.bus.records import PATIENCE, ends, read_some, texts, writing

_COMMIT_UNTOLD = """
SELECT trelay.bus_write('{k}', $2, '{null}', null, null, $1, '{1}', '{1}', '{}', '{}', '{}', '{}', null, '{}', '{}')
"""


async def test_a_commit_that_nobody_tells_is_found_anyway(bus: PostgresBus, line: str, sql: asyncpg.Connection) -> None:
    partition = (await bus._topics.find(line)).partitions[0]
    async with bus.reader(line, {0: 0}) as reader:
        assert not await reader.read(wait=0.3)
        waiting = asyncio.create_task(reader.read())
        await sql.execute(_COMMIT_UNTOLD, [partition], [b"a"])
        assert texts(await asyncio.wait_for(waiting, PATIENCE)) == ["a"]


async def test_readers_elsewhere_are_woken_long_before_they_would_look(
    migrated_database: DatabaseOptions, bus: PostgresBus, line: str
) -> None:
    taken = []
    async with (
        connect_postgres(PostgresBusOptions(), migrated_database) as another,
        another.reader(line, {0: 0}) as reader,
        bus.writer("w") as writer,
    ):
        for number in range(20):
            waiting = asyncio.create_task(reader.read())
            await asyncio.sleep(0.02)
            began = time.monotonic()
            await writer.commit(writing(line, str(number)))
            await asyncio.wait_for(waiting, PATIENCE)
            taken.append(time.monotonic() - began)
    assert sorted(taken)[10] < 0.7  # unasked, it would look a second after the time before


async def test_a_commit_that_readers_find_nothing_new_after_tells_nobody(
    migrated_database: DatabaseOptions, bus: PostgresBus, line: str
) -> None:
    heard: list[str] = []
    listener = await asyncpg.connect(migrated_database.url)
    await listener.add_listener("trelay_bus", lambda *said: heard.append(str(said[3]).partition(" ")[2]))
    transaction = Transaction()
    transaction.commit_offset("g", TopicPartition(line, 0), 1)
    async with bus.writer("w") as writer, bus.reader(line, {0: 0}) as reader:
        await writer.commit(transaction)
        await writer.commit(writing(line, "a"))
        await read_some(reader, 1)
        async with asyncio.timeout(PATIENCE):
            while not heard:
                await asyncio.sleep(0.01)
                await listener.fetchval("SELECT 1")
    await listener.close()
    assert heard == [str((await bus._topics.find(line)).partitions[0])]


async def test_under_load_one_notification_tells_of_many_commits(
    migrated_database: DatabaseOptions, bus: PostgresBus, topic: str
) -> None:
    heard: list[str] = []
    listener = await asyncpg.connect(migrated_database.url)
    await listener.add_listener("trelay_bus", lambda *said: heard.append(str(said[3])))
    async with bus.appender() as appender, bus.reader(topic, await ends(bus, topic)) as reader:
        for number in range(200):
            await appender.append(topic, writing(topic, str(number)).records[topic])
        await read_some(reader, 200)
    await listener.close()
    assert 0 < len(heard) < 200
