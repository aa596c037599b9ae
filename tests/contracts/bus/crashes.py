"""Processes that are killed, or paused and resumed beside their successors: no record is lost or repeated."""

import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shared.bus.protocol import Bus, Transaction
from tests.contracts.bus.children import SIZE
from tests.contracts.bus.deployment import DeploymentFixtures, ServedDeployment, new_topic
from tests.contracts.bus.records import TIMEOUT, by_key, ends, everything, visible

KEYS = 40


class Child:
    """A process of `children` with a log file of its own."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    async def started(cls, job: str, order: Mapping[str, Any], log: Path) -> "Child":
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "tests.contracts.bus.children", job),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert process.stdin is not None
        process.stdin.write(json.dumps(order).encode() + b"\n")
        await process.stdin.drain()
        return cls(process, log)

    async def line(self) -> str:
        """Wait for its next line."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), TIMEOUT)
        assert line, f"the process has ended; the end of its log:\n{self._log.read_text()[-3000:]}"
        return line.decode().strip()

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        # Read its output to the end, or the pipe would be left to the garbage collector.
        await self._process.communicate()


class CrashesContract(DeploymentFixtures):
    async def test_a_writer_that_is_killed_leaves_whole_transactions(
        self, deployment: ServedDeployment, bus: Bus, line: str, tmp_path: Path, seed: int
    ) -> None:
        rng = random.Random(seed)
        order = order_for(deployment, topic=line, name=f"killed-{line}")
        written = 0
        for _ in range(4):
            child = await Child.started("write", order, tmp_path / "log")
            while int(await child.line()) < rng.randrange(1, 30):
                pass
            await asyncio.sleep(rng.uniform(0, 0.01))
            await child.kill()
            async with bus.writer(order["name"]):
                found = await visible(bus, line)
            fresh = found[written:]
            assert fresh == [f"{number}.{part}" for number in range(len(fresh) // SIZE) for part in range(SIZE)]
            assert await visible(bus, line) == found
            written = len(found)

    async def test_a_group_whose_members_are_killed_loses_and_repeats_nothing(
        self, deployment: ServedDeployment, bus: Bus, topic: str, tmp_path: Path, seed: int
    ) -> None:
        await copy_under_kills(deployment, bus, topic, tmp_path, seconds=12.0, rate=500, seed=seed)

    @pytest.mark.chaos
    @pytest.mark.timeout(600)
    async def test_a_group_whose_members_are_killed_for_long_loses_and_repeats_nothing(
        self, deployment: ServedDeployment, bus: Bus, topic: str, tmp_path: Path, seed: int
    ) -> None:
        await copy_under_kills(deployment, bus, topic, tmp_path, seconds=300.0, rate=2000, seed=seed)


class Member:
    """A member of the group that is killed and paused at random, and restarted under its name."""

    def __init__(self, order: Mapping[str, Any], log: Path, rng: random.Random) -> None:
        self._order = order
        self._log = log
        self._rng = rng
        self._child: Child | None = None
        self.kills = 0
        self.pauses = 0

    async def start(self) -> None:
        self._child = await Child.started("copy", self._order, self._log)
        await self._child.line()

    async def kill_and_pause(self, until: float) -> None:
        """Kill or pause it at random times; it runs at the end."""
        while time.monotonic() < until:
            await asyncio.sleep(self._rng.uniform(0.2, 2.0))
            assert self._child is not None
            if self._rng.random() < 0.7:
                self.kills += 1
                await self._child.kill()
                # Mostly restarted at once, as a container is; otherwise other members take over first.
                await asyncio.sleep(self._rng.choice((0.0, 0.0, self._rng.uniform(0.0, 8.0))))
                await self.start()
            else:
                self.pauses += 1
                self._child.pause()
                # Sometimes longer than a session: then it resumes beside its successor.
                await asyncio.sleep(self._rng.uniform(0.1, 9.0))
                self._child.resume()

    async def end(self) -> None:
        if self._child is not None:
            await self._child.kill()


async def copy_under_kills(
    deployment: ServedDeployment, bus: Bus, topic: str, folder: Path, *, seconds: float, rate: int, seed: int
) -> None:
    """Let three members copy what is written, and kill and pause them at random meanwhile."""
    target = await new_topic(bus, partitions=4)
    order = order_for(deployment, topic=topic, target=target, group=f"copiers-{topic}")
    members = [
        Member(order | {"member": name}, folder / f"{name}.log", random.Random(f"{seed} {name}")) for name in "abc"
    ]
    try:
        await asyncio.gather(*(member.start() for member in members))
        until = time.monotonic() + seconds
        attacks = [asyncio.create_task(member.kill_and_pause(until)) for member in members]
        written = await feed(bus, topic, seconds, rate)
        await asyncio.gather(*attacks)
        kills, pauses = sum(member.kills for member in members), sum(member.pauses for member in members)
        print(f"{written} records, {kills} kills, {pauses} pauses")
        await copied(bus, target, written)
        # A repeated record may come late: give it a moment.
        await asyncio.sleep(1.0)
        found = by_key(await everything(bus, target))
    finally:
        for member in members:
            await member.end()
    assert found == {
        f"key-{key}": [str(number) for number in range(key, written, KEYS)] for key in range(min(KEYS, written))
    }


async def copied(bus: Bus, target: str, count: int) -> None:
    """Wait until this number of records is copied, for as long as more of them come."""
    positions = dict.fromkeys(await ends(bus, target), 0)
    seen = 0
    async with bus.reader(target, positions) as reader:
        while seen < count:
            async with asyncio.timeout(4 * TIMEOUT):
                seen += len(await reader.read())


async def feed(bus: Bus, topic: str, seconds: float, rate: int) -> int:
    """Write numbers at a rate, each under one of a few keys; return how many were written."""
    number = 0
    began = time.monotonic()
    async with bus.writer(f"feed-{topic}") as writer:
        while (passed := time.monotonic() - began) < seconds:
            due = max(number + 1, int(passed * rate))
            transaction = Transaction()
            for each in range(number, due):
                transaction.append(topic, f"key-{each % KEYS}".encode(), str(each).encode())
            await writer.commit(transaction)
            number = due
            await asyncio.sleep(0.02)
    async with bus.writer(f"feed-{topic}"):
        return number


def order_for(deployment: ServedDeployment, **rest: str) -> dict[str, Any]:
    """Return the order of a child: where the bus is, and what to do."""
    where: dict[str, Any] = json.loads(deployment.options)
    return where | rest
