"""Several instances of one client, with its id and secret, as the pods of one Deployment or StatefulSet."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from services.experience_api.registry.clients import ClientChange
from tests.integration.clients.scenarios.programs import PATIENT, Program, Start, served
from tests.integration.services.experience_api.replicas import Deployment, Replica

pytestmark = pytest.mark.timeout(900)  # the first one installs and builds the JavaScript client

INSTANCES = 3


class Pod:
    """One instance, which is started again with its store."""

    def __init__(self, start: Start, replica: Replica, store: Path) -> None:
        self._start = start
        self._given = {"url": replica.url, "store": str(store)}
        self._running = AsyncExitStack()
        self.program: Program
        self.numbers: list[int] = []
        self.runs: list[Program] = []

    async def start(self) -> None:
        self.program = await self._running.enter_async_context(self._start(**self._given))
        self.runs.append(self.program)

    async def connected(self) -> None:
        await self.program.until_control("trelay.connected")

    async def until(self, number: int) -> None:
        """Receive each number up to this one: none is missing, and none comes twice on a connection."""
        while not self.numbers or self.numbers[-1] < number:
            [found] = await self.program.numbers(1)
            if found in self.numbers[-1:]:
                assert self.program.said("number") == [found], "killed before its cursor was stored"
                continue
            assert not self.numbers or found == self.numbers[-1] + 1
            self.numbers.append(found)

    async def stop(self) -> None:
        await self._running.aclose()

    @property
    def waits(self) -> list[str]:
        """Why it was not connected, each time."""
        assert [program.said("stopped") + program.said("error") for program in self.runs] == [[]] * len(self.runs)
        return [reason for program in self.runs for reason in program.said("retry")]


class Feed:
    """Pushes numbers, one after another."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self.last = -1

    async def push(self, count: int = 5) -> int:
        """Return the last one."""
        await self._replica.push("orders", *range(self.last + 1, self.last + count + 1))
        self.last += count
        return self.last


@asynccontextmanager
async def pods(deployment: Deployment, start: Start, folder: Path) -> AsyncIterator[tuple[Feed, list[Pod], list[Pod]]]:
    """Run instances of a client on two replicas; yield them connected, and as many that are not started."""
    async with deployment.replica(PATIENT) as one, deployment.replica(PATIENT) as other, AsyncExitStack() as stack:
        assert await one.registry.change("demo", ClientChange(max_connections=INSTANCES))
        found = [Pod(start, (one, other)[number % 2], folder / str(number)) for number in range(2 * INSTANCES)]
        for pod in found:
            stack.push_async_callback(pod.stop)
        running, others = found[:INSTANCES], found[INSTANCES:]
        for pod in running:
            await pod.start()
        for pod in running:
            await pod.connected()
        yield Feed(one), running, others


async def test_instances_run_beside_each_other_and_are_restarted_one_after_another(
    deployment: Deployment, start: Start, tmp_path: Path
) -> None:
    """Each registers at each of its starts."""
    async with pods(deployment, start, tmp_path) as (feed, running, _):
        for restarted in running * 2:
            await feed.push()
            for pod in running:
                await pod.until(feed.last)
            await restarted.stop()
            await feed.push()
            await restarted.start()
        await feed.push()
        for pod in running:
            await pod.until(feed.last)
            assert pod.numbers == list(range(feed.last + 1))
            assert pod.waits == []


async def test_an_update_starts_each_new_instance_before_it_stops_an_old_one(
    deployment: Deployment, start: Start, tmp_path: Path
) -> None:
    """The new one waits for the place of the old one."""
    async with pods(deployment, start, tmp_path) as (feed, old, new):
        serving = list(old)
        for number in range(INSTANCES):
            await new[number].start()
            waits = (await new[number].program.until("retry"))["retry"]
            assert "409" in waits or "4005" in waits, waits
            await feed.push()
            for pod in serving:
                await pod.until(feed.last)
            serving.remove(old[number])
            await old[number].stop()
            await new[number].connected()
            serving.append(new[number])
        await feed.push()
        for pod in new:
            await pod.until(feed.last)
        assert [pod.waits for pod in old] == [[]] * INSTANCES
        assert all("409" in reason or "4005" in reason for pod in new for reason in pod.waits)


async def test_an_instance_whose_token_has_expired_registers_again_beside_the_others(
    deployment: Deployment, start: Start, tmp_path: Path
) -> None:
    async with pods(deployment, start, tmp_path) as (feed, running, _), served(deployment) as (_, line):
        await running[-1].stop()
        await deployment.until_several(INSTANCES - 1)
        async with start(url=line.url, store=str(tmp_path / "late")) as late:
            await late.until_control("trelay.connected")
            await running[0].stop()
            await running[0].start()  # so another one has the newest token, whose days are those of all
            await running[0].connected()
            line.admits.clear()
            line.cut()
            await deployment.until_several(INSTANCES - 1)
            await deployment.expire_tokens()
            first = feed.last + 1
            await feed.push()
            line.admits.set()
            assert await late.numbers(5) == list(range(first, feed.last + 1))
            assert line.registrations == 2
            assert "trelay.gap" not in late.said("control")
        for pod in running[:-1]:
            await pod.until(feed.last)
            assert pod.waits == []
