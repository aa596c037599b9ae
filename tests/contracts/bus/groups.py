"""Groups: which member has which partition, where it starts to read, and how partitions move."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from shared.bus.protocol import Bus, Reader, TopicPartition, Transaction
from shared.errors import PositionLost
from tests.contracts.bus.deployment import Deployment, DeploymentFixtures
from tests.contracts.bus.records import TIMEOUT, everything, grown, hand_over, outgoing, owning, texts, visible, writing


class Journal:
    """Which member has which partition, and what was read, in the order of events."""

    def __init__(self) -> None:
        self.owners: dict[int, str] = {}
        self.starts: Counter[tuple[str, int]] = Counter()
        self.read: list[str] = []
        self.conflicts: list[str] = []
        self._changed = asyncio.Condition()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT), self._changed:
            await self._changed.wait_for(condition)

    async def notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def has_read(self, count: int) -> bool:
        return len(self.read) == count

    def of(self, member: str) -> set[int]:
        return {partition for partition, owner in self.owners.items() if owner == member}

    async def begin(self, member: str, partition: int) -> None:
        if partition in self.owners:
            self.conflicts.append(f"{member} got {partition} while {self.owners[partition]} had it")
        self.owners[partition] = member
        self.starts[member, partition] += 1
        await self.notify()

    async def end(self, member: str, partition: int) -> None:
        if self.owners.get(partition) == member:
            del self.owners[partition]
        await self.notify()


class JournalWorker:
    """A worker that records what it reads, and takes a moment to end."""

    def __init__(self, journal: Journal, member: str, *, ending: float = 0.0) -> None:
        self.journal = journal
        self.member = member
        self.ending = ending

    async def __call__(self, reader: Reader) -> None:
        [partition] = reader.positions
        await self.journal.begin(self.member, partition)
        try:
            while True:
                self.journal.read += texts(await reader.read())
                await self.journal.notify()
        finally:
            await asyncio.sleep(self.ending)
            await self.journal.end(self.member, partition)


ALL = {0, 1, 2, 3}


class GroupsContract(DeploymentFixtures):
    async def test_a_single_member_reads_every_partition_from_the_earliest_record(
        self, deployment: Deployment, bus: Bus, topic: str
    ) -> None:
        async with bus.appender() as appender:
            await appender.append(topic, outgoing(*(str(number) for number in range(40))))
            first = next(record for record in await everything(bus, topic) if record.partition == 1)
            await deployment.forget(topic, 1, first.offset + 1)
            journal = Journal()
            async with bus.join(topic, f"g-{topic}", "single", JournalWorker(journal, "single")):
                await journal.until(lambda: journal.of("single") == ALL and len(journal.read) == 39)
                await appender.append(topic, outgoing("later"))
                await journal.until(lambda: "later" in journal.read)
            assert journal.owners == {}
        assert len(journal.read) == len(set(journal.read)) == 40

    async def test_a_worker_starts_at_the_committed_offset(self, bus: Bus, line: str) -> None:
        group = f"g-{line}"
        async with owning(bus, "committing") as writer:
            await writer.commit(writing(line, "a", "b", "c"))
        [_, _, c] = await everything(bus, line)
        async with owning(bus, "committing") as writer:
            transaction = Transaction()
            transaction.commit_offset(group, TopicPartition(line, 0), c.offset)
            await writer.commit(transaction)
        journal = Journal()
        async with bus.join(line, group, "one", JournalWorker(journal, "one")):
            await journal.until(lambda: bool(journal.read))
        assert journal.read == ["c"]

    async def test_a_committed_offset_that_has_expired_is_an_error_of_the_reader(
        self, deployment: Deployment, bus: Bus, line: str
    ) -> None:
        group = f"g-{line}"
        async with owning(bus, "away") as writer:
            await writer.commit(writing(line, "a", "b", "c"))
        [a, _, c] = await everything(bus, line)
        async with owning(bus, "away") as writer:
            transaction = Transaction()
            transaction.commit_offset(group, TopicPartition(line, 0), a.offset)
            await writer.commit(transaction)
        await deployment.forget(line, 0, c.offset)
        raised: asyncio.Future[PositionLost] = asyncio.get_running_loop().create_future()

        async def worker(reader: Reader) -> None:
            try:
                await reader.read()
            except PositionLost as exc:
                raised.set_result(exc)
                await asyncio.Event().wait()

        async with bus.join(line, group, "one", worker):
            lost = await asyncio.wait_for(raised, TIMEOUT)
        assert (lost.offset, lost.earliest) == (a.offset, c.offset)

    async def test_two_members_share(self, deployment: Deployment, bus: Bus, topic: str) -> None:
        journal = Journal()
        async with (
            deployment.connect() as another,
            bus.join(topic, f"g-{topic}", "a", JournalWorker(journal, "a")),
            another.join(topic, f"g-{topic}", "b", JournalWorker(journal, "b")),
        ):
            await journal.until(lambda: len(journal.of("a")) == len(journal.of("b")) == 2)
        assert journal.conflicts == []
        assert journal.owners == {}

    async def test_a_partition_moves_only_after_its_worker_has_ended(
        self, deployment: Deployment, bus: Bus, topic: str
    ) -> None:
        journal = Journal()
        async with (
            deployment.connect() as another,
            bus.join(topic, f"g-{topic}", "a", JournalWorker(journal, "a", ending=0.3)),
        ):
            await journal.until(lambda: journal.of("a") == ALL)
            async with another.join(topic, f"g-{topic}", "b", JournalWorker(journal, "b", ending=0.3)):
                await journal.until(lambda: len(journal.of("a")) == len(journal.of("b")) == 2)
        assert journal.conflicts == []

    async def test_a_member_that_stays_gets_the_partitions_of_one_that_leaves(
        self, deployment: Deployment, bus: Bus, topic: str
    ) -> None:
        journal = Journal()
        async with (
            deployment.connect() as another,
            bus.appender() as appender,
            bus.join(topic, f"g-{topic}", "a", JournalWorker(journal, "a")),
        ):
            async with another.join(topic, f"g-{topic}", "b", JournalWorker(journal, "b", ending=0.2)):
                await journal.until(lambda: len(journal.of("a")) == len(journal.of("b")) == 2)
            await journal.until(lambda: journal.of("a") == ALL)
            await appender.append(topic, outgoing(*(str(number) for number in range(40))))
            await journal.until(lambda: len(journal.read) == 40)
        assert journal.conflicts == []

    async def test_a_newer_member_of_the_same_name_gets_the_partitions_of_the_older(
        self, deployment: Deployment, bus: Bus, topic: str
    ) -> None:
        """As after a crash that was not detected: the older one is fenced, the others keep theirs."""
        journal, restarted = Journal(), Journal()
        async with (
            deployment.connect() as another,
            deployment.connect() as third,
            bus.join(topic, f"g-{topic}", "a", JournalWorker(journal, "a")),
            another.join(topic, f"g-{topic}", "b", JournalWorker(journal, "b")),
        ):
            await journal.until(lambda: len(journal.of("a")) == len(journal.of("b")) == 2)
            before = journal.of("b")
            async with third.join(topic, f"g-{topic}", "b", JournalWorker(restarted, "b")):
                await restarted.until(lambda: restarted.of("b") == before)
                await journal.until(lambda: journal.of("b") == set())
                assert journal.of("a") == ALL - before

    async def test_groups_are_independent(self, bus: Bus, topic: str) -> None:
        journals = {name: Journal() for name in ("left", "right")}
        async with bus.appender() as appender:
            await appender.append(topic, outgoing(*(str(number) for number in range(20))))
        async with (
            bus.join(topic, f"left-{topic}", "m", JournalWorker(journals["left"], "m")),
            bus.join(topic, f"right-{topic}", "m", JournalWorker(journals["right"], "m")),
        ):
            for journal in journals.values():
                await journal.until(partial(journal.has_read, 20))

    async def test_a_worker_that_fails_is_logged_and_restarted(
        self, bus: Bus, line: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        journal = Journal()

        async def fail_twice(reader: Reader) -> None:
            if journal.starts["m", 0] < 2:
                await journal.begin("m", 0)
                await journal.end("m", 0)
                raise RuntimeError("a bug of the worker")
            await JournalWorker(journal, "m")(reader)

        async with bus.appender() as appender:
            await appender.append(line, outgoing("a"))
        async with bus.join(line, f"g-{line}", "m", fail_twice):
            await journal.until(lambda: journal.read == ["a"])
        assert caplog.text.count("RuntimeError: a bug of the worker") == 2

    async def test_a_worker_that_returns_is_restarted(self, bus: Bus, line: str) -> None:
        journal = Journal()

        async def return_at_once(reader: Reader) -> None:
            await journal.begin("m", 0)
            await journal.end("m", 0)

        async with bus.join(line, f"g-{line}", "m", return_at_once):
            await journal.until(lambda: journal.starts["m", 0] == 3)

    async def test_copying_while_partitions_move_loses_and_repeats_nothing(
        self, deployment: Deployment, bus: Bus, topic: str, line: str
    ) -> None:
        """Consume, copy and produce with one writer for each partition, while members join and leave."""
        total = 600
        group = f"g-{topic}"

        async def feed() -> None:
            async with bus.appender() as appender:
                for number in range(total):
                    await appender.append(topic, outgoing(str(number)))

        async with deployment.connect() as another, asyncio.TaskGroup() as tasks:
            tasks.create_task(feed())
            async with bus.join(topic, group, "a", partial(copy, bus, group, line)):
                for round_ in (1, 2):
                    async with another.join(topic, group, "b", partial(copy, another, group, line)):
                        await grown(bus, line, round_ * 200)
                await grown(bus, line, total)
        assert sorted(await visible(bus, line), key=int) == [str(number) for number in range(total)]


async def copy(bus: Bus, group: str, target: str, reader: Reader) -> None:
    """Copy one partition exactly once: open the writer, seek to the committed offset, then copy without end."""
    [partition] = reader.positions
    position = TopicPartition(reader.topic, partition)
    async with bus.writer(f"{group}-{partition}") as writer:
        committed = await writer.committed(group, position)
        if committed is not None:
            reader.seek(partition, committed)
        while True:
            records = await reader.read(limit=50)
            transaction = Transaction()
            for record in records:
                transaction.append(target, record.key or b"", record.value)
            transaction.commit_offset(group, position, records[-1].offset + 1)
            await hand_over(writer, transaction)
