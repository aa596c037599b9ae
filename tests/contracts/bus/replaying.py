"""Records that are placed in a partition, and the replay of one partition."""

import asyncio

import pytest

from shared.bus.protocol import Bus, Outgoing, Record, TopicPartition, Transaction
from shared.errors import PositionLost, Unavailable
from tests.contracts.bus.deployment import Deployment, DeploymentFixtures, new_topic
from tests.contracts.bus.records import everything, hand_over, owning, texts


def placing(topic: str, partition: int, *values: str, key: str | None = None) -> Transaction:
    """Return a transaction with one record for each value, all in one partition."""
    records = [Outgoing((key or value).encode(), value.encode()) for value in values]
    return Transaction(placed={TopicPartition(topic, partition): records})


async def replayed(bus: Bus, topic: str, partition: int, offset: int | None = None) -> tuple[list[Record], int]:
    found: list[Record] = []
    end = await bus.replay(TopicPartition(topic, partition), offset, found.extend)
    return found, end


class ReplayingContract(DeploymentFixtures):
    @pytest.mark.parametrize("compact", [False, True])
    async def test_a_placed_record_goes_to_its_partition_whatever_its_key_is(self, bus: Bus, compact: bool) -> None:
        topic = await new_topic(bus, partitions=3, compact=compact)
        async with owning(bus, "placing") as writer:
            for number in range(3):
                transaction = placing(topic, number, *(f"{number}.{part}" for part in range(5)))
                transaction.append(topic, b"keyed", b"keyed")
                await writer.commit(transaction)
        for number in range(3):
            found = [record for record in await everything(bus, topic) if record.key != b"keyed"]
            assert texts(r for r in found if r.partition == number) == [f"{number}.{part}" for part in range(5)]

    async def test_a_transaction_of_placed_records_alone_is_not_empty(self, bus: Bus) -> None:
        assert not placing("any", 0, "a").empty
        assert placing("any", 0).empty

    async def test_a_replay_returns_the_latest_value_of_each_key_of_its_partition(self, bus: Bus) -> None:
        topic = await new_topic(bus, partitions=2, compact=True)
        async with owning(bus, "replay") as writer:
            for round_ in range(3):
                transaction = placing(topic, 0, "other", key="a")
                transaction.placed[TopicPartition(topic, 1)] = [
                    Outgoing(key.encode(), f"{key}.{round_}".encode()) for key in "ab"
                ]
                await writer.commit(transaction)
        found, end = await replayed(bus, topic, 1)
        assert {record.key: record.value for record in found} == {b"a": b"a.2", b"b": b"b.2"}
        assert {record.partition for record in found} == {1}
        assert (await replayed(bus, topic, 1, end))[0] == []

    async def test_a_replay_goes_on_where_an_earlier_one_ended_and_includes_deletions(self, bus: Bus) -> None:
        topic = await new_topic(bus, partitions=1, compact=True)
        async with owning(bus, "goes-on") as writer:
            await writer.commit(placing(topic, 0, "a", "b", "c"))
            _, end = await replayed(bus, topic, 0)
            deletion = placing(topic, 0, "d")
            deletion.placed[TopicPartition(topic, 0)].append(Outgoing(b"b", None))
            await writer.commit(deletion)
            found, _ = await replayed(bus, topic, 0, end)
        assert [(record.key, record.value) for record in found] == [(b"d", b"d"), (b"b", None)]

    async def test_a_replay_includes_what_was_committed_just_before(self, deployment: Deployment, bus: Bus) -> None:
        topic = await new_topic(bus, partitions=2, compact=True)
        async with deployment.connect() as another:
            for number in range(6):
                async with bus.writer("just-before") as writer:
                    await writer.commit(placing(topic, 1, str(number), key="k"))
                async with another.writer("just-before"):
                    found, _ = await replayed(another, topic, 1)
                assert texts(found)[-1] == str(number)

    async def test_a_replay_beside_a_busy_writer_ends(self, bus: Bus) -> None:
        topic = await new_topic(bus, partitions=2, compact=True)

        async def write() -> None:
            async with bus.writer(f"busy-{topic}") as writer:
                while True:
                    await hand_over(writer, placing(topic, 1, *(str(part) for part in range(50))))
                    await asyncio.sleep(0)

        async with owning(bus, "quiet") as writer:
            await writer.commit(placing(topic, 1, "mine"))
        busy = asyncio.create_task(write())
        try:
            found, _ = await replayed(bus, topic, 1)
        finally:
            busy.cancel()
            await asyncio.gather(busy, return_exceptions=True)
        assert "mine" in texts(found)

    async def test_a_replay_from_beyond_the_end_is_lost(self, bus: Bus) -> None:
        topic = await new_topic(bus, partitions=1, compact=True)
        async with owning(bus, "beyond") as writer:
            await writer.commit(placing(topic, 0, "a"))
        with pytest.raises(PositionLost):
            await replayed(bus, topic, 0, 1000)

    async def test_a_replay_of_a_topic_that_does_not_exist_is_unavailable(self, bus: Bus) -> None:
        with pytest.raises(Unavailable):
            await replayed(bus, "contract-does-not-exist", 0)
