"""Groups: who drives which partition, from where, and how it changes hands."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from shared.bus.protocol import Bus, Reader, TopicPartition, Transaction
from shared.errors import PositionLost
from tests.contracts.bus.deployment import Deployment, DeploymentFixtures
from tests.contracts.bus.records import (
    PATIENCE,
    everything,
    grown,
    hand_over,
    outgoing,
    owning,
    texts,
    visible,
    writing,
)


class Journal:
    """Who drives which partition, and what was read, in the order it happened."""

    def __init__(self) -> None:
        self.held: dict[int, str] = {}
        self.starts: Counter[tuple[str, int]] = Counter()
        self.read: list[str] = []
        self.clashes: list[str] = []
        self._changed = asyncio.Condition()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(condition)

    async def noted(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def has_read(self, count: int) -> bool:
        return len(self.read) == count

    def of(self, member: str) -> set[int]:
        return {partition for partition, holder in self.held.items() if holder == member}

    async def begin(self, member: str, partition: int) -> None:
        if partition in self.held:
            self.clashes.append(f"{member} got {partition} while {self.held[partition]} drove it")
        self.held[partition] = member
        self.starts[member, partition] += 1
        await self.noted()

    async def end(self, member: str, partition: int) -> None:
        if self.held.get(partition) == member:
            del self.held[partition]
        await self.noted()


class Drives:
    """A drive that notes what it sees and takes a moment to end."""

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
                await self.journal.noted()
        finally:
            await asyncio.sleep(self.ending)
            await self.journal.end(self.member, partition)


ALL = {0, 1, 2, 3}


class GroupsContract(DeploymentFixtures):
    async def test_a_lone_member_drives_every_partition_from_the_earliest_record(
        self, deployment: Deployment, bus: Bus, topic: str
    ) -> None:
        async with bus.appender() as appender:
            await appender.append(topic, outgoing(*(str(number) for number in range(40))))
            first = next(record for record in await everything(bus, topic) if record.partition == 1)
            await deployment.forget(topic, 1, first.offset + 1)
            journal = Journal()
            async with bus.join(topic, f"g-{topic}", "lone", Drives(journal, "lone")):
                await journal.until(lambda: journal.of("lone") == ALL and len(journal.read) == 39)
                await appender.append(topic, outgoing("later"))
                await journal.until(lambda: "later" in journal.read)
            assert journal.held == {}
        assert len(journal.read) == len(set(journal.read)) == 40

    async def test_a_drive_starts_where_the_group_has_settled(self, bus: Bus, line: str) -> None:
        group = f"g-{line}"
        async with owning(bus, "settling") as writer:
            await writer.commit(writing(line, "a", "b", "c"))
        [_, _, c] = await everything(bus, line)
        async with owning(bus, "settling") as writer:
            transaction = Transaction()
            transaction.commit_offset(group, TopicPartition(line, 0), c.offset)
            await writer.commit(transaction)
        journal = Journal()
        async with bus.join(line, group, "one", Drives(journal, "one")):
            await journal.until(lambda: bool(journal.read))
        assert journal.read == ["c"]

    async def test_a_settled_offset_that_expired_is_said_to_the_drive(
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
        told: asyncio.Future[PositionLost] = asyncio.get_running_loop().create_future()

        async def drive(reader: Reader) -> None:
            try:
                await reader.read()
            except PositionLost as exc:
                told.set_result(exc)
                await asyncio.Event().wait()

        async with bus.join(line, group, "one", drive):
            lost = await asyncio.wait_for(told, PATIENCE)
        assert (lost.offset, lost.earliest) == (a.offset, c.offset)

    async def test_two_members_share(self, deployment: Deployment, bus: Bus, topic: str) -> None:
        journal = Journal()
        async with (
            deployment.connect() as another,
            bus.join(topic, f"g-{topic}", "a", Drives(journal, "a")),
            another.join(topic, f"g-{topic}", "b", Drives(journal, "b")),
        ):
            await journal.until(lambda: len(journal.of("a")) == len(journal.of("b")) == 2)
        assert journal.clashes == []
        assert journal.held == {}

    async def test_a_partition_is_given_away_only_after_its_drive_has_ended(
        self, deployment: Deployment, bus: Bus, topic: str
    ) -> None:
        journal = Journal()
        async with (
            deployment.connect() as another,
            bus.join(topic, f"g-{topic}", "a", Drives(journal, "a", ending=0.3)),
        ):
            await journal.until(lambda: journal.of("a") == ALL)
            async with another.join(topic, f"g-{topic}", "b", Drives(journal, "b", ending=0.3)):
                await journal.until(lambda: len(journal.of("a")) == len(journal.of("b")) == 2)
        assert journal.clashes == []

    async def test_who_stays_takes_over_from_who_leaves(self, deployment: Deployment, bus: Bus, topic: str) -> None:
        journal = Journal()
        async with (
            deployment.connect() as another,
            bus.appender() as appender,
            bus.join(topic, f"g-{topic}", "a", Drives(journal, "a")),
        ):
            async with another.join(topic, f"g-{topic}", "b", Drives(journal, "b", ending=0.2)):
                await journal.until(lambda: len(journal.of("a")) == len(journal.of("b")) == 2)
            await journal.until(lambda: journal.of("a") == ALL)
            await appender.append(topic, outgoing(*(str(number) for number in range(40))))
            await journal.until(lambda: len(journal.read) == 40)
        assert journal.clashes == []

    async def test_a_member_of_the_same_name_gets_what_the_older_had(
        self, deployment: Deployment, bus: Bus, topic: str
    ) -> None:
        """As after a crash that nobody noticed: the older one is put out, the others keep theirs."""
        journal, returned = Journal(), Journal()
        async with (
            deployment.connect() as another,
            deployment.connect() as third,
            bus.join(topic, f"g-{topic}", "a", Drives(journal, "a")),
            another.join(topic, f"g-{topic}", "b", Drives(journal, "b")),
        ):
            await journal.until(lambda: len(journal.of("a")) == len(journal.of("b")) == 2)
            had = journal.of("b")
            async with third.join(topic, f"g-{topic}", "b", Drives(returned, "b")):
                await returned.until(lambda: returned.of("b") == had)
                await journal.until(lambda: journal.of("b") == set())
                assert journal.of("a") == ALL - had

    async def test_groups_do_not_disturb_one_another(self, bus: Bus, topic: str) -> None:
        journals = {name: Journal() for name in ("left", "right")}
        async with bus.appender() as appender:
            await appender.append(topic, outgoing(*(str(number) for number in range(20))))
        async with (
            bus.join(topic, f"left-{topic}", "m", Drives(journals["left"], "m")),
            bus.join(topic, f"right-{topic}", "m", Drives(journals["right"], "m")),
        ):
            for journal in journals.values():
                await journal.until(partial(journal.has_read, 20))

    async def test_a_drive_that_fails_is_logged_and_started_again(
        self, bus: Bus, line: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        journal = Journal()

        async def fail_twice(reader: Reader) -> None:
            if journal.starts["m", 0] < 2:
                await journal.begin("m", 0)
                await journal.end("m", 0)
                raise RuntimeError("a bug of the drive")
            await Drives(journal, "m")(reader)

        async with bus.appender() as appender:
            await appender.append(line, outgoing("a"))
        async with bus.join(line, f"g-{line}", "m", fail_twice):
            await journal.until(lambda: journal.read == ["a"])
        assert caplog.text.count("RuntimeError: a bug of the drive") == 2

    async def test_a_drive_that_ends_is_started_again(self, bus: Bus, line: str) -> None:
        journal = Journal()

        async def end_at_once(reader: Reader) -> None:
            await journal.begin("m", 0)
            await journal.end("m", 0)

        async with bus.join(line, f"g-{line}", "m", end_at_once):
            await journal.until(lambda: journal.starts["m", 0] == 3)

    async def test_copying_across_a_change_of_hands_loses_and_repeats_nothing(
        self, deployment: Deployment, bus: Bus, topic: str, line: str
    ) -> None:
        """Consume, copy, produce with a writer a partition, while members come and go."""
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
    """Copy one partition exactly once, as a drive: open the writer, go to what is settled, then on for ever."""
    [partition] = reader.positions
    position = TopicPartition(reader.topic, partition)
    async with bus.writer(f"{group}-{partition}") as writer:
        settled = await writer.committed(group, position)
        if settled is not None:
            reader.seek(partition, settled)
        while True:
            records = await reader.read(limit=50)
            transaction = Transaction()
            for record in records:
                transaction.append(target, record.key or b"", record.value)
            transaction.commit_offset(group, position, records[-1].offset + 1)
            await hand_over(writer, transaction)
