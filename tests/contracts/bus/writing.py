"""Writers: order, transactions, limits, and how a writer ends."""

import asyncio
import random
from collections.abc import Awaitable

import pytest

from shared.bus.partitioning import partition_of
from shared.bus.protocol import (
    IN_FLIGHT,
    RECORD_LIMIT,
    Bus,
    Outgoing,
    TopicPartition,
    Transaction,
    Writer,
)
from shared.errors import Fenced, TooLarge, TrelayError, Unavailable
from tests.contracts.bus.deployment import Deployment, DeploymentFixtures, new_topic
from tests.contracts.bus.records import by_key, everything, grown, hand_over, owning, texts, visible, writing


class WritingContract(DeploymentFixtures):
    async def test_a_record_is_read_as_it_was_written(self, bus: Bus, topic: str) -> None:
        written = Outgoing(b"\x00key", bytes(range(256)), (("trail", b"orders 1 a"), ("empty", b""), ("trail", b"2")))
        transaction = Transaction({topic: [written, Outgoing(b"gone", None)]})
        async with owning(bus, "intact") as writer:
            await writer.commit(transaction)
        [record, deletion] = sorted(await everything(bus, topic), key=lambda found: found.key or b"")
        assert (record.topic, record.partition) == (topic, partition_of(written.key, 4))
        assert (record.key, record.value, tuple(record.headers)) == written
        assert (deletion.key, deletion.value, tuple(deletion.headers)) == (b"gone", None, ())
        assert record.timestamp > 1_600_000_000_000

    async def test_a_key_is_in_its_partition_and_keeps_its_order(self, bus: Bus, topic: str, seed: int) -> None:
        rng = random.Random(seed)
        expected: dict[str, list[str]] = {}
        async with owning(bus, "order") as writer:
            for round_ in range(20):
                transaction = Transaction()
                for number in range(50):
                    key, value = f"key-{rng.randrange(30)}", f"{round_}.{number}"
                    transaction.append(topic, key.encode(), value.encode())
                    expected.setdefault(key, []).append(value)
                await writer.commit(transaction)
        records = await everything(bus, topic)
        assert by_key(records) == expected
        assert {record.partition for record in records} == {0, 1, 2, 3}
        for record in records:
            assert record.partition == partition_of(record.key or b"", 4)

    async def test_offsets_grow_within_a_partition(self, bus: Bus, line: str) -> None:
        async with owning(bus, "growing") as writer:
            for number in range(10):
                await writer.commit(writing(line, f"{number}.a", f"{number}.b"))
        offsets = [record.offset for record in await everything(bus, line)]
        assert offsets == sorted(set(offsets))
        assert len(offsets) == 20

    async def test_a_transaction_spans_topics_and_offsets(self, bus: Bus, topic: str, line: str) -> None:
        transaction = writing(topic, "a", "b", "c", "d", "e")
        transaction.append(line, b"checkpoint", b"5")
        transaction.commit_offset("readers", TopicPartition(topic, 1), 17)
        transaction.commit_offset("readers", TopicPartition(topic, 2), 19)
        async with owning(bus, "spanning") as writer:
            await writer.commit(transaction)
        assert sorted(await visible(bus, topic)) == ["a", "b", "c", "d", "e"]
        assert await visible(bus, line) == ["5"]
        assert await bus.committed("readers", TopicPartition(topic, 1)) == 17
        assert await bus.committed("readers", TopicPartition(topic, 2)) == 19
        assert await bus.committed("readers", TopicPartition(topic, 0)) is None
        assert await bus.committed("others", TopicPartition(topic, 1)) is None

    async def test_a_transaction_may_have_offsets_alone(self, bus: Bus, topic: str) -> None:
        async with owning(bus, "offsets-alone") as writer:
            for offset in (3, 4):
                transaction = Transaction()
                transaction.commit_offset("skipping", TopicPartition(topic, 0), offset)
                await writer.commit(transaction)
        assert await bus.committed("skipping", TopicPartition(topic, 0)) == 4

    async def test_a_writer_knows_the_offset_that_the_owner_before_has_committed(self, bus: Bus, topic: str) -> None:
        position = TopicPartition(topic, 0)
        for offset in range(5):
            async with owning(bus, "resuming") as writer:
                assert await writer.committed("resuming", position) == (offset or None)
                assert await writer.committed("resuming", TopicPartition(topic, 1)) is None
                transaction = writing(topic, str(offset))
                transaction.commit_offset("resuming", position, offset + 1)
                await writer.commit(transaction)
        assert sorted(await visible(bus, topic)) == ["0", "1", "2", "3", "4"]

    async def test_an_empty_transaction_commits(self, bus: Bus, topic: str) -> None:
        async with owning(bus, "empty") as writer:
            await writer.commit(Transaction())
            await writer.commit(writing(topic, "a"))
        assert await visible(bus, topic) == ["a"]

    async def test_a_committed_transaction_becomes_visible_to_another_connection(
        self, deployment: Deployment, bus: Bus, line: str
    ) -> None:
        async with deployment.connect() as another, bus.writer("soon") as writer:
            for number in range(10):
                await writer.commit(writing(line, str(number)))
                await grown(another, line, number + 1)
                assert len(await visible(another, line)) == number + 1

    async def test_a_transaction_becomes_visible_as_a_whole(self, bus: Bus, line: str) -> None:
        size, rounds = 300, 10
        found: list[str] = []

        async def write() -> None:
            async with owning(bus, "whole") as writer:
                for round_ in range(rounds):
                    await writer.commit(writing(line, *(f"{round_}.{number}" for number in range(size))))

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            while len(found) < rounds * size:
                found = await visible(bus, line)
                assert len(found) % size == 0
                await asyncio.sleep(0)
        assert found == [f"{round_}.{number}" for round_ in range(rounds) for number in range(size)]

    async def test_no_more_than_the_guaranteed_number_is_in_flight(self, bus: Bus, topic: str) -> None:
        in_flight = 0
        most = 0

        async def watched(done: Awaitable[None]) -> None:
            nonlocal in_flight
            await done
            in_flight -= 1

        async with owning(bus, "bounded") as writer, asyncio.TaskGroup() as group:
            for number in range(20):
                done = await writer.submit(writing(topic, *(f"{number}.{part}" for part in range(20))))
                await asyncio.sleep(0)  # lets those that are done be counted
                in_flight += 1
                most = max(most, in_flight)
                group.create_task(watched(done))
        # The one whose end let the last submit continue may not have been counted yet.
        assert most <= IN_FLIGHT + 1
        assert len(await visible(bus, topic)) == 400

    async def test_pipelined_transactions_become_visible_in_order(self, bus: Bus, line: str) -> None:
        async with owning(bus, "pipelined") as writer:
            done = [await writer.submit(writing(line, f"{number}.a", f"{number}.b")) for number in range(30)]
            for number in reversed(range(30)):
                await done[number]
        assert await visible(bus, line) == [f"{number}.{part}" for number in range(30) for part in "ab"]

    async def test_tasks_can_share_a_writer(self, bus: Bus, topic: str, line: str) -> None:
        async with owning(bus, "shared") as writer:
            transactions = [writing(topic, f"{number}.a", f"{number}.b", key="k") for number in range(30)]
            transactions[7] = writing(line, "7.a", "7.b")
            await asyncio.gather(*(writer.commit(transaction) for transaction in transactions))
        order = [f"{number}.{part}" for number in range(30) if number != 7 for part in "ab"]
        assert await visible(bus, topic) == order
        assert await visible(bus, line) == ["7.a", "7.b"]

    async def test_a_committed_transaction_becomes_visible_with_all_before_it(self, bus: Bus, line: str) -> None:
        async with owning(bus, "prefix") as writer:
            for number in range(0, 20, 2):
                await hand_over(writer, writing(line, str(number)))
                later = await writer.submit(writing(line, str(number + 1)))
                await later
                await grown(bus, line, number + 2)
                assert await visible(bus, line) == [str(seen) for seen in range(number + 2)]

    async def test_a_record_at_the_limit_is_written(self, bus: Bus, line: str) -> None:
        fits = Outgoing(b"k", b"v" * (RECORD_LIMIT - 1))
        async with owning(bus, "at-limit") as writer:
            await writer.commit(Transaction({line: [fits, Outgoing(b"k", b"small")]}))
        [large, small] = await everything(bus, line)
        assert large.value == fits.value
        assert small.value == b"small"

    async def test_a_record_above_the_limit_fails_its_transaction_and_the_writer(
        self, bus: Bus, topic: str, line: str
    ) -> None:
        async with owning(bus, "too-large") as writer:
            before = await writer.submit(writing(topic, "a"))
            too_large = writing(topic, "b")
            too_large.append(line, b"k", b"v" * RECORD_LIMIT)
            too_large.append(topic, b"c", b"c")
            with pytest.raises(TooLarge, match=f"{line}.*{RECORD_LIMIT + 1}.*{RECORD_LIMIT}"):
                await writer.commit(too_large)
            with pytest.raises(TrelayError):
                await writer.commit(writing(topic, "d"))
            await before
        assert await visible(bus, topic) == ["a"]
        assert await visible(bus, line) == []
        async with owning(bus, "too-large") as writer:
            await writer.commit(writing(topic, "e", key="a"))
        assert await visible(bus, topic) == ["a", "e"]

    async def test_no_transaction_becomes_visible_after_one_that_failed(self, bus: Bus, line: str) -> None:
        async with owning(bus, "failing") as writer:
            outcomes = [await self._outcome(writer, writing(line, "a"))]
            outcomes += [await self._outcome(writer, Transaction({line: [Outgoing(b"b", b"v" * (RECORD_LIMIT + 1))]}))]
            outcomes += [await self._outcome(writer, writing(line, text)) for text in "cde"]
            results = await asyncio.gather(*outcomes, return_exceptions=True)
        assert results[0] is None
        assert all(isinstance(result, TrelayError) for result in results[1:])
        assert await visible(bus, line) == ["a"]

    async def test_a_failure_that_is_not_awaited_is_not_reported_by_the_event_loop(self, bus: Bus, line: str) -> None:
        reported: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        async with bus.writer("not-awaited") as older, bus.writer("not-awaited"):
            for _ in range(IN_FLIGHT + 1):
                try:
                    await hand_over(older, writing(line, "a"))
                except Fenced:
                    break
        assert reported == []
        assert await visible(bus, line) == []

    async def test_leaving_drops_or_commits_what_is_in_flight_and_nothing_in_between(self, bus: Bus, line: str) -> None:
        async with owning(bus, "leaving") as writer:
            for number in range(IN_FLIGHT):
                await hand_over(writer, writing(line, *(f"{number}.{part}" for part in range(100))))
        found = await visible(bus, line)
        whole = [f"{number}.{part}" for number in range(IN_FLIGHT) for part in range(100)]
        assert len(found) % 100 == 0
        assert found == whole[: len(found)]
        async with owning(bus, "leaving") as writer:
            await writer.commit(writing(line, "last"))
        assert await visible(bus, line) == [*found, "last"]

    async def test_a_topic_that_does_not_exist_is_named(self, bus: Bus, line: str) -> None:
        async with owning(bus, "lost") as writer:
            with pytest.raises(Unavailable, match="not-there"):
                await writer.commit(writing("not-there", "a"))
        assert await visible(bus, line) == []

    async def test_many_records_make_one_transaction(self, bus: Bus) -> None:
        topic = await new_topic(bus, partitions=2)
        body = "x" * 1000
        async with owning(bus, "many") as writer:
            await writer.commit(writing(topic, *(f"{number} {body}" for number in range(5000))))
        found = await everything(bus, topic)
        assert len(found) == 5000
        for partition in (0, 1):
            numbers = [int(text.split()[0]) for text in texts(r for r in found if r.partition == partition)]
            assert numbers == sorted(numbers)

    async def _outcome(self, writer: Writer, transaction: Transaction) -> Awaitable[None]:
        """Submit, and return an awaitable of the outcome, wherever an error is raised."""
        try:
            return await writer.submit(transaction)
        except TrelayError as exc:
            failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            failed.set_exception(exc)
            return failed
