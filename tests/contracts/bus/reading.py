"""Readers: positions, waits, seeks, lost positions, and bounded memory."""

import asyncio
import gc
import random
import tracemalloc

import pytest

from shared.bus.protocol import Bus, Outgoing, Record, Transaction
from shared.errors import PositionLost, Unavailable
from tests.contracts.bus.deployment import Deployment, DeploymentFixtures
from tests.contracts.bus.records import (
    TIMEOUT,
    ends,
    everything,
    hand_over,
    outgoing,
    owning,
    read_some,
    texts,
    visible,
    writing,
)

MIB = 1024 * 1024


class ReadingContract(DeploymentFixtures):
    async def test_reads_from_the_given_positions(self, bus: Bus, line: str) -> None:
        async with owning(bus, "positions") as writer:
            await writer.commit(writing(line, "a", "b"))
            await writer.commit(writing(line, "c", "d"))
        records = await everything(bus, line)
        for skipped in range(4):
            async with bus.reader(line, {0: records[skipped].offset}) as reader:
                assert reader.topic == line
                assert reader.positions == {0: records[skipped].offset}
                found = await read_some(reader, 4 - skipped)
                assert texts(found) == ["a", "b", "c", "d"][skipped:]
                assert reader.positions[0] > found[-1].offset

    async def test_a_position_resumes_after_the_last_record_read(self, bus: Bus, line: str) -> None:
        async with owning(bus, "resumed") as writer:
            for number in range(5):
                await writer.commit(writing(line, f"{number}.a", f"{number}.b", f"{number}.c"))
        positions: dict[int, int] = {0: 0}
        seen: list[str] = []
        while len(seen) < 15:
            async with bus.reader(line, positions) as reader:
                found = await reader.read(limit=2)
                assert 1 <= len(found) <= 2
                seen += texts(found)
                positions = dict(reader.positions)
        assert seen == [f"{number}.{part}" for number in range(5) for part in "abc"]

    async def test_the_ends_are_above_all_that_is_committed_and_are_reached(self, bus: Bus, topic: str) -> None:
        async with owning(bus, "ends") as writer:
            for part in range(5):
                await writer.commit(writing(topic, *(f"{part}.{number}" for number in range(8))))
                found = await bus.ends(topic)
                async with bus.reader(topic, dict.fromkeys(found, 0)) as reader, asyncio.timeout(TIMEOUT):
                    seen: list[Record] = []
                    while any(reader.positions[number] < end for number, end in found.items()):
                        seen += await reader.read(wait=0.1)
                assert {text.partition(".")[0] for text in texts(seen)} == set("01234"[: part + 1])

    async def test_finds_the_first_offset_of_a_time(self, bus: Bus, topic: str) -> None:
        async with owning(bus, "times") as writer:
            for part in range(6):
                await writer.commit(writing(topic, *(f"{part}.{number}" for number in range(20))))
        records = await everything(bus, topic)
        bounds = await bus.bounds(topic)
        latest = max(record.timestamp for record in records)
        for time in (-2, -1, 0, *sorted({record.timestamp for record in records}), latest + 3_600_000):
            found = await bus.offsets_at(topic, time)
            assert found.keys() == bounds.keys()
            for partition, offset in found.items():
                later = [each.offset for each in records if each.partition == partition and each.timestamp >= time]
                earlier = [each.offset for each in records if each.partition == partition and each.timestamp < time]
                # Between two batches, any offset that leaves out none of the later ones.
                assert max(earlier, default=-1) < offset <= min(later, default=bounds[partition][1])

    async def test_a_topic_that_does_not_exist_has_no_offset_of_a_time(self, bus: Bus) -> None:
        with pytest.raises(Unavailable):
            await bus.offsets_at("missing", 0)

    async def test_reads_the_given_partitions_and_no_others(self, bus: Bus, topic: str) -> None:
        async with owning(bus, "some") as writer:
            await writer.commit(writing(topic, *(str(number) for number in range(100))))
        wanted = [record for record in await everything(bus, topic) if record.partition in {1, 3}]
        async with bus.reader(topic, {1: 0, 3: 0}) as reader:
            found = await read_some(reader, len(wanted))
            assert not await reader.read(wait=0.2)
        assert sorted(texts(found)) == sorted(texts(wanted))
        for partition in (1, 3):
            offsets = [record.offset for record in found if record.partition == partition]
            assert offsets == sorted(offsets)

    async def test_returns_no_more_than_the_limit(self, bus: Bus, line: str) -> None:
        async with owning(bus, "limited") as writer:
            await writer.commit(writing(line, *(str(number) for number in range(25))))
        async with bus.reader(line, {0: 0}) as reader:
            seen: list[str] = []
            async with asyncio.timeout(TIMEOUT):
                while len(seen) < 25:
                    found = await reader.read(limit=10)
                    assert 1 <= len(found) <= 10
                    seen += texts(found)
        assert seen == [str(number) for number in range(25)]

    async def test_positions_reach_the_end(self, bus: Bus, topic: str) -> None:
        async with owning(bus, "reached") as writer:
            for number in range(5):
                await writer.commit(writing(topic, *(f"{number}.{part}" for part in range(10))))
        bounds = await ends(bus, topic)
        async with bus.reader(topic, dict.fromkeys(bounds, 0)) as reader, asyncio.timeout(TIMEOUT):
            while any(reader.positions[number] < end for number, end in bounds.items()):
                await reader.read(wait=0.2)

    async def test_waits_for_the_given_time(self, bus: Bus, line: str) -> None:
        async with bus.reader(line, {0: 0}) as reader:
            loop = asyncio.get_running_loop()
            began = loop.time()
            assert not await reader.read(wait=0.3)
            assert 0.25 < loop.time() - began < TIMEOUT

    async def test_wakes_for_a_write(self, deployment: Deployment, bus: Bus, topic: str) -> None:
        async with (
            deployment.connect() as another,
            bus.reader(topic, await ends(bus, topic)) as reader,
            another.writer("waking") as writer,
        ):
            for number in range(5):
                waiting = asyncio.create_task(reader.read())
                done, _ = await asyncio.wait([waiting], timeout=0.05)
                assert not done
                await writer.commit(writing(topic, str(number)))
                assert texts(await asyncio.wait_for(waiting, TIMEOUT)) == [str(number)]

    async def test_a_cancelled_read_consumes_nothing(self, bus: Bus, topic: str, seed: int) -> None:
        rng = random.Random(seed)
        found: list[Record] = []
        async with bus.reader(topic, await ends(bus, topic)) as reader, bus.appender() as appender:

            async def write() -> None:
                for number in range(60):
                    await appender.append(topic, outgoing(str(number)))

            writing_on = asyncio.create_task(write())
            async with asyncio.timeout(TIMEOUT):
                while len(found) < 60:
                    reading = asyncio.create_task(reader.read(limit=3))
                    await asyncio.wait([reading], timeout=rng.uniform(0, 0.003))
                    reading.cancel()
                    await asyncio.wait([reading])
                    found += [] if reading.cancelled() else reading.result()
            await writing_on
        assert sorted(texts(found), key=int) == [str(number) for number in range(60)]

    async def test_reads_on_from_a_seek(self, bus: Bus, topic: str) -> None:
        async with owning(bus, "seeking") as writer:
            await writer.commit(writing(topic, *(str(number) for number in range(40))))
        records = await everything(bus, topic)
        first = [record for record in records if record.partition == 0]
        async with bus.reader(topic, await ends(bus, topic)) as reader:
            reader.seek(0, first[2].offset)
            assert reader.positions[0] == first[2].offset
            assert texts(await read_some(reader, len(first) - 2)) == texts(first[2:])
            reader.seek(0, first[0].offset)
            assert texts(await read_some(reader, len(first))) == texts(first)

    async def test_a_seek_drops_what_was_fetched_ahead(self, bus: Bus, line: str) -> None:
        async with owning(bus, "ahead") as writer:
            await writer.commit(writing(line, *(str(number) for number in range(40))))
        records = await everything(bus, line)
        async with bus.reader(line, {0: 0}) as reader:
            for target in (20, 0, 39, 7):
                reader.seek(0, records[target].offset)
                assert texts(await reader.read(limit=1)) == [str(target)]

    async def test_a_lost_position_is_an_error_until_a_seek(self, deployment: Deployment, bus: Bus, line: str) -> None:
        async with owning(bus, "expiring") as writer:
            for number in range(4):
                await writer.commit(writing(line, str(number)))
        records = await everything(bus, line)
        await deployment.forget(line, 0, records[2].offset)
        async with bus.reader(line, {0: records[0].offset}) as reader:
            for _ in range(2):
                with pytest.raises(PositionLost) as raised:
                    await asyncio.wait_for(reader.read(), TIMEOUT)
                lost = (raised.value.topic, raised.value.partition, raised.value.offset, raised.value.earliest)
                assert lost == (line, 0, records[0].offset, records[2].offset)
            reader.seek(0, records[2].offset)
            assert texts(await read_some(reader, 2)) == ["2", "3"]

    async def test_a_lost_position_loses_no_records_of_other_partitions(
        self, deployment: Deployment, bus: Bus, topic: str
    ) -> None:
        async with owning(bus, "half") as writer:
            await writer.commit(writing(topic, *(str(number) for number in range(100))))
        records = await everything(bus, topic)
        lost = [record for record in records if record.partition == 2]
        await deployment.forget(topic, 2, lost[-1].offset)
        expected = [record for record in records if record.partition != 2] + lost[-1:]
        found: list[Record] = []
        async with bus.reader(topic, dict.fromkeys(range(4), 0)) as reader, asyncio.timeout(TIMEOUT):
            while len(found) < len(expected):
                try:
                    found += await reader.read(limit=7)
                except PositionLost as exc:
                    reader.seek(exc.partition, exc.earliest)
        assert sorted(texts(found), key=int) == sorted(texts(expected), key=int)

    async def test_a_position_beyond_the_end_is_lost(self, bus: Bus, line: str) -> None:
        async with owning(bus, "short") as writer:
            await writer.commit(writing(line, "a"))
        [end] = (await ends(bus, line)).values()
        async with bus.reader(line, {0: end + 100}) as reader:
            with pytest.raises(PositionLost):
                await asyncio.wait_for(reader.read(), TIMEOUT)
            reader.seek(0, 0)
            assert texts(await read_some(reader, 1)) == ["a"]

    async def test_two_readers_are_independent(self, bus: Bus, topic: str) -> None:
        async with owning(bus, "both") as writer:
            await writer.commit(writing(topic, *(str(number) for number in range(50))))
        everywhere = dict.fromkeys(range(4), 0)
        async with bus.reader(topic, everywhere) as left, bus.reader(topic, everywhere) as right:
            first = await read_some(left, 50)
            second = await read_some(right, 50)
        assert sorted(texts(first)) == sorted(texts(second))

    async def test_records_that_are_not_read_are_not_held_in_memory(self, bus: Bus, topic: str) -> None:
        """The log has 96 MiB; a reader that takes one record and then pauses holds a bounded part of them."""
        body = random.Random(1).randbytes(MIB)  # does not compress
        async with owning(bus, "heavy") as writer:
            for number in range(0, 96, 8):
                keys = [b"%d" % key for key in range(number, number + 8)]
                await writer.commit(Transaction({topic: [Outgoing(key, key + body) for key in keys]}))
        gc.collect()
        tracemalloc.start()
        try:
            async with bus.reader(topic, dict.fromkeys(range(4), 0)) as reader:
                found = list(await reader.read(limit=1))
                # No event shows that a reader has stopped fetching ahead, so give it time to fetch too much.
                await asyncio.sleep(1.0)
                held, _ = tracemalloc.get_traced_memory()
                assert held < 40 * MIB
                found += await read_some(reader, 95)
        finally:
            tracemalloc.stop()
        assert len({record.key for record in found}) == 96

    async def test_reading_during_writes_misses_nothing(self, deployment: Deployment, bus: Bus, topic: str) -> None:
        async with (
            deployment.connect() as another,
            bus.reader(topic, await ends(bus, topic)) as reader,
            asyncio.TaskGroup() as group,
        ):
            for name in ("left", "right"):
                group.create_task(self._write(another, topic, name))
            found = texts(await read_some(reader, 2 * 200))
        for name in ("left", "right"):
            assert sorted(int(text.split()[1]) for text in found if text.startswith(name)) == list(range(200))
        assert sorted(found) == sorted(await visible(bus, topic))

    async def _write(self, bus: Bus, topic: str, name: str) -> None:
        async with owning(bus, name) as writer:
            for number in range(0, 200, 4):
                await hand_over(writer, writing(topic, *(f"{name} {number + part}" for part in range(4))))
            await writer.commit(Transaction())
