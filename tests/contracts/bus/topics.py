"""Topics: created or checked, identified, bounded, compacted."""

import asyncio
import re
import uuid

import pytest

from shared.bus.protocol import Bus, TopicOptions, TopicPartition, Transaction
from shared.errors import SettingsError, Unavailable
from tests.contracts.bus.deployment import Deployment, DeploymentFixtures, new_topic
from tests.contracts.bus.records import everything, hand_over, owning, visible, writing


class TopicsContract(DeploymentFixtures):
    async def test_a_missing_topic_is_created_with_its_partitions(self, bus: Bus) -> None:
        topic = await new_topic(bus, partitions=3)
        assert await bus.bounds(topic) == {0: (0, 0), 1: (0, 0), 2: (0, 0)}

    async def test_a_topic_that_matches_the_settings_stays_as_it_is(self, bus: Bus) -> None:
        options = TopicOptions(name=f"contract-{uuid.uuid4().hex}", partitions=2, retention_hours=12.5)
        await bus.ensure_topics([options])
        before = await bus.epoch(options.name)
        await bus.ensure_topics([options, options])
        assert await bus.epoch(options.name) == before

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"partitions": 3}, r"partitions is 2, the settings say 3"),
            ({"compact": True, "retention_hours": None}, r"compact is False, the settings say True"),
            ({"retention_hours": 24.0}, r"retention_hours is 12\.0, the settings say 24\.0"),
        ],
    )
    async def test_a_difference_is_named(self, bus: Bus, change: dict[str, object], named: str) -> None:
        options = TopicOptions(name=f"contract-{uuid.uuid4().hex}", partitions=2, retention_hours=12.0)
        await bus.ensure_topics([options])
        with pytest.raises(SettingsError, match=f"{options.name}.*{named}"):
            await bus.ensure_topics([options.model_copy(update=change)])

    async def test_every_difference_is_named(self, bus: Bus) -> None:
        options = TopicOptions(name=f"contract-{uuid.uuid4().hex}", partitions=2, retention_hours=12.0)
        await bus.ensure_topics([options])
        with pytest.raises(SettingsError) as raised:
            await bus.ensure_topics([options.model_copy(update={"partitions": 1, "retention_hours": 1.0})])
        assert "partitions" in str(raised.value)
        assert "retention_hours" in str(raised.value)

    async def test_an_epoch_is_short_and_does_not_change(self, deployment: Deployment, bus: Bus, topic: str) -> None:
        epoch = await bus.epoch(topic)
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,32}", epoch)
        assert await bus.epoch(topic) == epoch
        async with deployment.connect() as another:
            assert await another.epoch(topic) == epoch

    async def test_a_topic_that_is_created_again_has_another_epoch(self, deployment: Deployment, bus: Bus) -> None:
        options = TopicOptions(name=f"contract-{uuid.uuid4().hex}", partitions=1)
        await bus.ensure_topics([options])
        before = await bus.epoch(options.name)
        await deployment.delete(options.name)
        await bus.ensure_topics([options])
        assert await bus.epoch(options.name) != before

    async def test_two_topics_have_two_epochs(self, bus: Bus, topic: str, line: str) -> None:
        assert await bus.epoch(topic) != await bus.epoch(line)

    async def test_calls_for_a_topic_that_does_not_exist_are_unavailable(self, bus: Bus) -> None:
        missing = f"contract-{uuid.uuid4().hex}"
        with pytest.raises(Unavailable, match=missing):
            await bus.epoch(missing)
        with pytest.raises(Unavailable, match=missing):
            await bus.bounds(missing)
        with pytest.raises(Unavailable, match=missing):
            await bus.latest(missing, b"a")
        with pytest.raises(Unavailable, match=missing):
            async with bus.reader(missing, {0: 0}):
                pass

    async def test_bounds_enclose_the_visible_records(self, deployment: Deployment, bus: Bus, line: str) -> None:
        async with owning(bus, "bounds") as writer:
            await writer.commit(writing(line, "a", "b", "c"))
        [a, b, c] = await everything(bus, line)
        [(earliest, end)] = (await bus.bounds(line)).values()
        assert earliest <= a.offset < b.offset < c.offset < end
        await deployment.forget(line, 0, c.offset)
        assert await bus.bounds(line) == {0: (c.offset, end)}
        async with owning(bus, "bounds") as writer:
            await writer.commit(writing(line, "d"))
        assert (await everything(bus, line))[-1].offset >= end

    async def test_latest_returns_the_latest_value_of_a_name_and_of_the_keys_below_it(self, bus: Bus) -> None:
        topic = await new_topic(bus, partitions=1, compact=True)
        async with owning(bus, "latest") as writer:
            for round_ in (b"1", b"2"):
                transaction = Transaction()
                for key in (b"orders", b"orders/a.csv", b"orders/b.csv", b"orders2", b"orders2/a.csv", b"order"):
                    transaction.append(topic, key, key + b" " + round_)
                await writer.commit(transaction)
            deletion = Transaction()
            deletion.append(topic, b"orders/b.csv", None)
            await writer.commit(deletion)
        assert await bus.latest(topic, b"orders") == {b"orders": b"orders 2", b"orders/a.csv": b"orders/a.csv 2"}
        assert await bus.latest(topic, b"unknown") == {}

    async def test_latest_covers_all_partitions_and_what_was_committed_just_before(self, bus: Bus) -> None:
        topic = await new_topic(bus, partitions=3, compact=True)
        for number in range(12):
            transaction = Transaction()
            transaction.append(topic, b"files/%d" % number, b"%d" % number)
            async with owning(bus, "latest-of-many") as writer:
                await writer.commit(transaction)
            assert len(await bus.latest(topic, b"files")) == number + 1

    async def test_latest_is_final_beside_busy_writers(self, deployment: Deployment, bus: Bus) -> None:
        """Whatever other writers have in flight there, the owner of a name gets all that was committed under it."""
        topic = await new_topic(bus, partitions=1, compact=True)

        async def write(name: str) -> None:
            async with bus.writer(f"{topic}-{name}") as writer:
                while True:
                    await hand_over(writer, writing(topic, *(f"{name}-{part}" for part in range(100))))

        others = [asyncio.create_task(write(name)) for name in ("left", "right")]
        try:
            for number in range(10):
                async with bus.writer("owner") as writer:
                    await writer.commit(writing(topic, str(number), key="owner"))
                async with deployment.connect() as another, another.writer("owner"):
                    assert await another.latest(topic, b"owner") == {b"owner": str(number).encode()}
        finally:
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    async def test_a_group_that_has_committed_nothing_has_no_offset(self, bus: Bus, topic: str) -> None:
        assert await bus.committed(f"group-{topic}", TopicPartition(topic, 0)) is None

    async def test_a_bus_that_works_has_no_problem(self, bus: Bus, topic: str) -> None:
        async with owning(bus, "working") as writer:
            await writer.commit(writing(topic, "a"))
        assert await visible(bus, topic) == ["a"]
        assert bus.problem is None
