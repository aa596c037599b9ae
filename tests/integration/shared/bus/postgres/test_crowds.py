"""Many writers at the same partitions: no deadlocks, and no offset is missing or used twice."""

import asyncio
import random
from itertools import pairwise

import pytest

from shared.bus.postgres import PostgresBus, PostgresBusOptions, connect_postgres
from shared.bus.protocol import Outgoing, Transaction
from shared.database.options import DatabaseOptions
from tests.contracts.bus.records import by_key, ends, everything, hand_over, read_some, writing


@pytest.mark.every_postgres
async def test_writers_of_several_processes_and_sizes_share_all_partitions(
    migrated_database: DatabaseOptions, bus: PostgresBus, topic: str, kept: str, seed: int
) -> None:
    rounds = 12

    async def write(name: str) -> None:
        rng = random.Random(f"{seed} {name}")
        # One connection for two transactions in flight: they must not deadlock either.
        options = PostgresBusOptions(writing_connections=rng.choice((1, 2)))
        async with connect_postgres(options, migrated_database) as mine, mine.writer(name) as writer:
            for round_ in range(rounds):
                transaction = Transaction()
                for number in range(rng.choice((1, 3, 400))):
                    key = f"{name} {rng.randrange(8)}"
                    transaction.append(topic, key.encode(), b"%d.%d" % (round_, number) + b"x" * 300)
                transaction.append(kept, name.encode(), b"%d" % round_)
                await hand_over(writer, transaction)
            await writer.commit(Transaction())

    names = [f"w{number}" for number in range(8)]
    await asyncio.gather(*(write(name) for name in names))
    records = await everything(bus, topic)
    for number, end in (await ends(bus, topic)).items():
        assert [record.offset for record in records if record.partition == number] == list(range(end))
    for values in by_key(records).values():
        places = [tuple(map(int, value.rstrip("x").split("."))) for value in values]
        assert all(before < after for before, after in pairwise(places))
    assert await bus.latest(kept, b"w0") == {b"w0": b"%d" % (rounds - 1)}
    assert len(await everything(bus, kept)) == len(names)


async def test_many_writers_on_few_connections_do_not_starve(migrated_database: DatabaseOptions, topic: str) -> None:
    """Large transactions hold a connection while they wait for the small ones before them."""
    large = [Outgoing(b"%d" % number, b"x" * 1000) for number in range(200)]
    async with connect_postgres(PostgresBusOptions(writing_connections=2), migrated_database) as bus:

        async def write(name: str) -> None:
            async with bus.writer(name) as writer:
                for _ in range(6):
                    await hand_over(writer, writing(topic, name))
                    await hand_over(writer, Transaction({topic: large}))
                await writer.commit(Transaction())

        async with asyncio.timeout(60):
            await asyncio.gather(*(write(f"w{number}") for number in range(12)))
        assert sum((await ends(bus, topic)).values()) == 12 * 6 * 201


async def test_a_read_is_bounded_in_bytes(bus: PostgresBus, topic: str) -> None:
    body = b"x" * 100_000
    async with bus.writer("w") as writer:
        for _ in range(4):
            await writer.commit(Transaction({topic: [Outgoing(b"%d" % key, body) for key in range(100)]}))
    async with bus.reader(topic, dict.fromkeys(range(4), 0)) as reader:
        first = await reader.read(limit=10_000)
        assert 20 <= len(first) <= 4 * (21 + 11)  # 2 MiB each, and a batch more
        rest = await read_some(reader, 400 - len(first))
    assert len({(record.partition, record.offset) for record in [*first, *rest]}) == 400


async def test_a_reader_of_many_partitions_starves_none(bus: PostgresBus, topic: str) -> None:
    async with bus.writer("w") as writer:
        await writer.commit(writing(topic, *(str(number) for number in range(2000))))
    seen: set[int] = set()
    async with bus.reader(topic, dict.fromkeys(range(4), 0)) as reader:
        for _ in range(6):
            seen |= {record.partition for record in await reader.read(limit=10)}
    assert seen == {0, 1, 2, 3}
