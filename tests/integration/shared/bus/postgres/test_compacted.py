"""A compacted topic holds the latest record of each key, and readers skip the gaps."""

import asyncio

import asyncpg
import pytest

from shared.bus.postgres import PostgresBus
from shared.bus.protocol import Outgoing, Transaction
from shared.errors import PositionLost
from tests.contracts.bus.records import TIMEOUT, everything, texts


async def write(bus: PostgresBus, topic: str, *pairs: tuple[bytes, bytes | None]) -> None:
    async with bus.writer("w") as writer:
        await writer.commit(Transaction({topic: [Outgoing(key, value) for key, value in pairs]}))


async def test_each_write_replaces_the_one_before(bus: PostgresBus, kept: str, sql: asyncpg.Connection) -> None:
    for number in range(20):
        await write(bus, kept, (b"a", b"%d" % number), (b"b", b"%d" % number))
    assert await bus.bounds(kept) == {0: (0, 40)}
    assert [(record.key, record.value, record.offset) for record in await everything(bus, kept)] == [
        (b"a", b"19", 38),
        (b"b", b"19", 39),
    ]
    assert await sql.fetchval("SELECT count(*) FROM trelay.bus_latest") == 2
    assert await sql.fetchval("SELECT count(*) FROM trelay.bus_records") == 0


async def test_a_reader_reaches_the_end_over_gaps(bus: PostgresBus, kept: str) -> None:
    await write(bus, kept, (b"a", b"1"))
    await write(bus, kept, (b"b", b"2"))
    async with bus.reader(kept, {0: 1}) as reader:
        assert texts(await reader.read()) == ["2"]
        await write(bus, kept, (b"c", b"3"))
        assert texts(await reader.read()) == ["3"]
    async with bus.reader(kept, {0: 3}) as reader:
        waiting = asyncio.create_task(reader.read())
        await write(bus, kept, (b"a", b"4"))
        assert texts(await asyncio.wait_for(waiting, TIMEOUT)) == ["4"]
        assert reader.positions == {0: 4}


async def test_a_position_beyond_the_end_is_lost(bus: PostgresBus, kept: str) -> None:
    await write(bus, kept, (b"a", b"1"))
    async with bus.reader(kept, {0: 9}) as reader:
        with pytest.raises(PositionLost):
            await reader.read()


async def test_names_with_a_common_prefix_are_not_mixed_up(bus: PostgresBus, kept: str) -> None:
    names = [b"a", b"a/", b"a/b", b"a/\xff", b"a0", b"a.", b"ab", b"a\x00", b"/a", b""]
    await write(bus, kept, *((name, name) for name in names))
    assert set(await bus.latest(kept, b"a")) == {b"a", b"a/b", b"a/\xff", b"a/"}


async def test_many_keys_at_once_and_a_large_value(bus: PostgresBus, kept: str) -> None:
    large = b"v" * 300_000
    await write(bus, kept, *((b"files/%d" % number, b"%d" % number) for number in range(3000)), (b"files/x", large))
    latest = await bus.latest(kept, b"files")
    assert len(latest) == 3001
    assert latest[b"files/x"] == large
    assert len(await everything(bus, kept)) == 3001
