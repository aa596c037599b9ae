"""How readers learn of commits: by a notification, and without one by polling."""

import asyncio
import time

import asyncpg

from shared.bus.postgres import PostgresBus, PostgresBusOptions, connect_postgres
from shared.bus.protocol import TopicPartition, Transaction
from shared.database.options import DatabaseOptions
from tests.contracts.bus.records import TIMEOUT, ends, read_some, texts, writing

_COMMIT_WITHOUT_NOTIFICATION = """
SELECT trelay.bus_write('{k}', $2, '{null}', null, null, $1, '{1}', '{1}', '{}', '{}', '{}', '{}', null, '{}', '{}')
"""


async def test_a_commit_without_a_notification_is_found_by_polling(
    bus: PostgresBus, line: str, sql: asyncpg.Connection
) -> None:
    partition = (await bus._topics.get(line)).partitions[0]
    async with bus.reader(line, {0: 0}) as reader:
        assert not await reader.read(wait=0.3)
        waiting = asyncio.create_task(reader.read())
        await sql.execute(_COMMIT_WITHOUT_NOTIFICATION, [partition], [b"a"])
        assert texts(await asyncio.wait_for(waiting, TIMEOUT)) == ["a"]


async def test_readers_of_other_processes_wake_long_before_they_would_poll(
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
            await asyncio.wait_for(waiting, TIMEOUT)
            taken.append(time.monotonic() - began)
    assert sorted(taken)[10] < 0.7  # without a notification, it would poll after a second


async def test_a_commit_without_records_sends_no_notification(
    migrated_database: DatabaseOptions, bus: PostgresBus, line: str
) -> None:
    received: list[str] = []
    listener = await asyncpg.connect(migrated_database.url)
    await listener.add_listener("trelay_bus", lambda *sent: received.append(str(sent[3]).partition(" ")[2]))
    transaction = Transaction()
    transaction.commit_offset("g", TopicPartition(line, 0), 1)
    async with bus.writer("w") as writer, bus.reader(line, {0: 0}) as reader:
        await writer.commit(transaction)
        await writer.commit(writing(line, "a"))
        await read_some(reader, 1)
        async with asyncio.timeout(TIMEOUT):
            while not received:
                await asyncio.sleep(0.01)
                await listener.fetchval("SELECT 1")
    await listener.close()
    assert received == [str((await bus._topics.get(line)).partitions[0])]


async def test_under_load_one_notification_is_about_many_commits(
    migrated_database: DatabaseOptions, bus: PostgresBus, topic: str
) -> None:
    received: list[str] = []
    listener = await asyncpg.connect(migrated_database.url)
    await listener.add_listener("trelay_bus", lambda *sent: received.append(str(sent[3])))
    async with bus.appender() as appender, bus.reader(topic, await ends(bus, topic)) as reader:
        for number in range(200):
            await appender.append(topic, writing(topic, str(number)).records[topic])
        await read_some(reader, 200)
    await listener.close()
    assert 0 < len(received) < 200
