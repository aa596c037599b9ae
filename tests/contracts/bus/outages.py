"""A server that goes away and comes back: waited for, said, and nothing lost."""

import asyncio
from functools import partial

import pytest

from shared.bus.protocol import Bus
from shared.errors import TrelayError, Unavailable
from tests.contracts.bus.deployment import DeploymentFixtures, ServedDeployment, new_topic
from tests.contracts.bus.groups import copy
from tests.contracts.bus.records import (
    PATIENCE,
    ends,
    grown,
    hand_over,
    outgoing,
    owning,
    read_some,
    texts,
    visible,
    writing,
)


class OutagesContract(DeploymentFixtures):
    """Give these tests a server that nobody else uses, running when each of them begins."""

    async def test_a_reader_waits_for_a_server_that_restarts(
        self, deployment: ServedDeployment, bus: Bus, topic: str
    ) -> None:
        async with owning(bus, "before") as writer:
            await writer.commit(writing(topic, "a", "b"))
        async with bus.reader(topic, await ends(bus, topic)) as reader:
            waiting = asyncio.create_task(read_some(reader, 2))
            await deployment.stop_server()
            await trouble(bus, there=True)
            await deployment.start_server()
            await trouble(bus, there=False)
            async with owning(bus, "after") as writer:
                await writer.commit(writing(topic, "c", "d"))
            assert sorted(texts(await asyncio.wait_for(waiting, PATIENCE))) == ["c", "d"]
        assert sorted(await visible(bus, topic)) == ["a", "b", "c", "d"]

    async def test_a_writer_whose_server_is_gone_says_so_and_its_successor_goes_on(
        self, deployment: ServedDeployment, bus: Bus, line: str
    ) -> None:
        async with bus.writer("successor") as writer:
            await writer.commit(writing(line, "a"))
            await deployment.stop_server()
            with pytest.raises(Unavailable):
                await asyncio.wait_for(writer.commit(writing(line, "b")), PATIENCE)
            with pytest.raises(TrelayError):
                await writer.commit(writing(line, "c"))
        await deployment.start_server()
        await decided(bus, "successor")
        found = await visible(bus, line)
        assert found in (["a"], ["a", "b"])
        async with owning(bus, "successor") as writer:
            await writer.commit(writing(line, "d"))
        assert await visible(bus, line) == [*found, "d"]

    async def test_a_server_that_goes_in_mid_transaction_leaves_whole_ones(
        self, deployment: ServedDeployment, bus: Bus, line: str
    ) -> None:
        size = 200

        async def write() -> None:
            async with bus.writer("interrupted") as writer:
                for number in range(10_000):
                    await hand_over(writer, writing(line, *(f"{number}.{part}" for part in range(size))))

        writing_on = asyncio.create_task(write())
        await grown(bus, line, 3 * size)
        await deployment.stop_server()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(writing_on, PATIENCE)
        await deployment.start_server()
        await decided(bus, "interrupted")
        found = await visible(bus, line)
        assert len(found) % size == 0
        assert found == [f"{number}.{part}" for number in range(len(found) // size) for part in range(size)]

    async def test_an_appender_goes_on_after_a_restart(
        self, deployment: ServedDeployment, bus: Bus, topic: str
    ) -> None:
        async with bus.appender() as appender:
            await appender.append(topic, outgoing("a"))
            await deployment.stop_server()
            with pytest.raises(Unavailable):
                await asyncio.wait_for(appender.append(topic, outgoing("b")), PATIENCE)
            await deployment.start_server()
            await trouble(bus, there=False)
            await appender.append(topic, outgoing("c"))
        assert set(await visible(bus, topic)) - {"b"} == {"a", "c"}

    async def test_questions_during_an_outage_are_answered_by_saying_so(
        self, deployment: ServedDeployment, bus: Bus, topic: str
    ) -> None:
        await deployment.stop_server()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(bus.bounds(topic), PATIENCE)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(bus.epoch(topic), PATIENCE)
        with pytest.raises(Unavailable):
            async with asyncio.timeout(PATIENCE), bus.writer("nobody"):
                pass
        with pytest.raises(Unavailable):
            async with asyncio.timeout(PATIENCE), deployment.connect():
                pass

    async def test_a_group_copies_on_after_a_restart_and_loses_and_repeats_nothing(
        self, deployment: ServedDeployment, bus: Bus, topic: str
    ) -> None:
        total = 400
        target = await new_topic(bus, partitions=1)
        group = f"g-{topic}"

        async with owning(bus, "feed") as writer:
            await writer.commit(writing(topic, *(str(number) for number in range(total // 2))))
        async with (
            deployment.connect() as another,
            bus.join(topic, group, "a", partial(copy, bus, group, target)),
            another.join(topic, group, "b", partial(copy, another, group, target)),
        ):
            await grown(bus, target, total // 4)
            await deployment.stop_server()
            await trouble(bus, there=True)
            await deployment.start_server()
            await decided(bus, "feed")
            async with owning(bus, "feed") as writer:
                await writer.commit(writing(topic, *(str(number) for number in range(total // 2, total))))
            await grown(bus, target, total)
        assert sorted(await visible(bus, target), key=int) == [str(number) for number in range(total)]


async def trouble(bus: Bus, *, there: bool) -> None:
    """Wait until the bus says that something keeps it from working, or that nothing does any more."""
    async with asyncio.timeout(PATIENCE):
        while (bus.trouble is not None) != there:
            await asyncio.sleep(0.02)


async def decided(bus: Bus, name: str) -> None:
    """Own a name for a moment, as soon as the server lets us: by then, all that its writers did is decided."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with bus.writer(name):
                    return
            except Unavailable:
                await asyncio.sleep(0.05)
