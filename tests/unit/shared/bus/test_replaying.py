"""The replay of one partition up to an end that is known; `tests/contracts/bus` has the guarantees."""

import pytest

from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing, Record, TopicOptions, TopicPartition, Transaction
from shared.bus.replaying import replay_to_end
from shared.errors import PositionLost

PLACE = TopicPartition("t", 1)


async def filled(count: int) -> MemoryBus:
    bus = MemoryBus()
    await bus.ensure_topics([TopicOptions(name="t", partitions=2, compact=True)])
    async with bus.writer("w") as writer:
        await writer.commit(Transaction(placed={PLACE: [Outgoing(b"k", b"%d" % n) for n in range(count)]}))
    return bus


async def test_it_takes_all_records_in_pieces_and_returns_the_end() -> None:
    pieces: list[list[Record]] = []
    assert await replay_to_end(await filled(2500), PLACE, None, lambda records: pieces.append(list(records))) == 2500
    assert [int(record.value or b"") for piece in pieces for record in piece] == list(range(2500))
    assert max(map(len, pieces)) <= 1000


async def test_it_begins_at_the_offset() -> None:
    found: list[Record] = []
    assert await replay_to_end(await filled(5), PLACE, 3, found.extend) == 5
    assert [record.offset for record in found] == [3, 4]


async def test_nothing_is_read_at_the_end() -> None:
    assert await replay_to_end(await filled(5), PLACE, 5, lambda _: pytest.fail("there is nothing to take")) == 5


async def test_an_offset_beyond_the_end_is_lost() -> None:
    with pytest.raises(PositionLost):
        await replay_to_end(await filled(5), PLACE, 6, lambda _: None)
