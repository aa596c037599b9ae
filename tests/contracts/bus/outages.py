"""A server that stops and starts again: a problem is reported meanwhile, and nothing is lost."""

import asyncio
from contextlib import AsyncExitStack, suppress
from functools import partial

import pytest

from shared.bus.protocol import Bus, Writer
from shared.errors import TrelayError, Unavailable
from tests.contracts.bus.deployment import DeploymentFixtures, ServedDeployment, new_topic
from tests.contracts.bus.groups import copy
from tests.contracts.bus.records import (
    TIMEOUT,
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

CROWD = 20
"""Writers that commit at once, so that the server certainly stops between a response and what follows it."""


class OutagesContract(DeploymentFixtures):
    """These tests need a server of their own, running when each of them begins.

    Starting one takes seconds, so each test checks many clients during one outage.
    """

    async def test_all_clients_report_an_outage_and_survive_it(
        self, deployment: ServedDeployment, bus: Bus, topic: str, line: str
    ) -> None:
        async with (
            bus.reader(topic, await ends(bus, topic)) as reader,
            bus.appender() as appender,
            bus.writer("successor") as writer,
        ):
            await writer.commit(writing(line, "a"))
            await appender.append(topic, outgoing("before"))
            reading = asyncio.create_task(read_some(reader, 2))
            await deployment.stop_server()
            with pytest.raises(Unavailable):
                await asyncio.wait_for(writer.commit(writing(line, "b")), TIMEOUT)
            with pytest.raises(TrelayError):
                await writer.commit(writing(line, "c"))
            with pytest.raises(Unavailable):
                await asyncio.wait_for(appender.append(topic, outgoing("during")), TIMEOUT)
            await self._all_calls_fail(deployment, bus, topic)
            await problem(bus, expected=True)

            await deployment.start_server()
            await problem(bus, expected=False)
            await appender.append(topic, outgoing("after", "after that"))
            assert "before" in texts(await asyncio.wait_for(reading, TIMEOUT))
        await final(bus, "successor")
        found = await visible(bus, line)
        assert found in (["a"], ["a", "b"])
        async with owning(bus, "successor") as writer:
            await writer.commit(writing(line, "d"))
        assert await visible(bus, line) == [*found, "d"]
        assert set(await visible(bus, topic)) - {"during"} == {"before", "after", "after that"}

    async def test_interrupted_transactions_are_whole_or_absent_and_work_resumes(
        self, deployment: ServedDeployment, bus: Bus, topic: str, line: str
    ) -> None:
        """A writer at full speed, and a group that copies: the server stops in the middle of their transactions."""
        size, total = 200, 400
        target = await new_topic(bus, partitions=1)
        group = f"g-{topic}"

        async def write() -> None:
            async with bus.writer("interrupted") as writer:
                for number in range(10_000):
                    await hand_over(writer, writing(line, *(f"{number}.{part}" for part in range(size))))

        async with owning(bus, "feed") as writer:
            await writer.commit(writing(topic, *(str(number) for number in range(total // 2))))
        async with (
            deployment.connect() as another,
            bus.join(topic, group, "a", partial(copy, bus, group, target)),
            another.join(topic, group, "b", partial(copy, another, group, target)),
        ):
            await grown(bus, target, total // 4)
            writing_on = asyncio.create_task(write())
            await grown(bus, line, 3 * size)
            await deployment.stop_server()
            with pytest.raises(Unavailable):
                await asyncio.wait_for(writing_on, TIMEOUT)
            await problem(bus, expected=True)

            await deployment.start_server()
            await final(bus, "interrupted")
            found = await visible(bus, line)
            assert len(found) % size == 0
            assert found == [f"{number}.{part}" for number in range(len(found) // size) for part in range(size)]
            async with owning(bus, "feed") as writer:
                await writer.commit(writing(topic, *(str(number) for number in range(total // 2, total))))
            await grown(bus, target, total)
        assert sorted(await visible(bus, target), key=int) == [str(number) for number in range(total)]

    async def test_a_commit_just_before_an_outage_is_visible_after_it(
        self, deployment: ServedDeployment, bus: Bus
    ) -> None:
        lines = [await new_topic(bus, partitions=1) for _ in range(CROWD)]
        committed: set[str] = set()
        halfway = asyncio.Event()

        async def commit(writer: Writer, line: str) -> None:
            with suppress(Unavailable):
                await writer.commit(writing(line, "a"))
                committed.add(line)
                if len(committed) == CROWD // 2:
                    halfway.set()

        async with AsyncExitStack() as stack:
            writers = [await stack.enter_async_context(bus.writer(f"hasty-{line}")) for line in lines]
            committing = [asyncio.create_task(commit(*pair)) for pair in zip(writers, lines, strict=True)]
            await asyncio.wait_for(halfway.wait(), TIMEOUT)
            await deployment.stop_server()
            await asyncio.gather(*committing)
            await deployment.start_server()
        for line in lines:
            await final(bus, f"hasty-{line}")
            found = await visible(bus, line)
            assert found == ["a"] or (found == [] and line not in committed), f"{line} of {len(committed)} committed"

    async def _all_calls_fail(self, deployment: ServedDeployment, bus: Bus, topic: str) -> None:
        with pytest.raises(Unavailable):
            await asyncio.wait_for(bus.bounds(topic), TIMEOUT)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(bus.epoch(topic), TIMEOUT)
        with pytest.raises(Unavailable):
            async with asyncio.timeout(TIMEOUT), bus.writer("unavailable"):
                pass
        with pytest.raises(Unavailable):
            async with asyncio.timeout(TIMEOUT), deployment.connect():
                pass


async def problem(bus: Bus, *, expected: bool) -> None:
    """Wait until the bus has a problem, or has none any more."""
    async with asyncio.timeout(TIMEOUT):
        while (bus.problem is not None) != expected:
            await asyncio.sleep(0.02)


async def final(bus: Bus, name: str) -> None:
    """Own a name for a moment, as soon as the server is up: then all that its writers did is final."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                async with bus.writer(name):
                    return
            except Unavailable:
                await asyncio.sleep(0.05)
