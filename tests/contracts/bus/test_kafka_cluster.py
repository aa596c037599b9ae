"""The bus on three brokers keeps the promises of every bus, and works on while one of them is away."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from time import monotonic
from typing import Literal

import pytest

from services.standalone.embedded.kafka import KafkaServer
from shared.bus.protocol import Bus
from tests.contracts.bus.crashes import CrashesContract
from tests.contracts.bus.deployment import new_topic
from tests.contracts.bus.groups import copy
from tests.contracts.bus.kafka import ClusterDeployment
from tests.contracts.bus.outages import OutagesContract
from tests.contracts.bus.records import TIMEOUT, ends, outgoing, writing
from tests.contracts.bus.suite import BusContract
from tests.servers.cluster import Cluster, kafka_cluster_servers
from tests.servers.missing import skipping_without

KEYS = 8
STUCK_AFTER = 2 * TIMEOUT
"""Seconds without progress that count as stuck. How long it really takes is printed: 3 s until the cluster misses a
broker (`broker.session.timeout.ms`), the election, and what docs/kafka.md adds for Trelay. On a busy machine those that
still run may miss their own session as well, and all of that begins again."""


class TestKafkaClusterBus(BusContract):
    @pytest.fixture
    async def deployment(self, kafka_cluster: Cluster) -> ClusterDeployment:
        return ClusterDeployment(kafka_cluster)


@pytest.fixture(scope="class")
def stopped_and_started(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster for one class, whose tests leave it running or not."""
    with skipping_without("Kafka", request.config), kafka_cluster_servers() as cluster:
        yield cluster


@pytest.fixture
async def own_cluster(stopped_and_started: Cluster) -> AsyncIterator[Cluster]:
    """That cluster, with all nodes running before and after."""
    await asyncio.to_thread(stopped_and_started.start)
    yield stopped_and_started
    stopped_and_started.resume()


@pytest.mark.chaos
class TestKafkaClusterOutage(OutagesContract):
    """The whole cluster stops and starts again."""

    @pytest.fixture
    async def deployment(self, own_cluster: Cluster) -> ClusterDeployment:
        return ClusterDeployment(own_cluster, timeout=3.0)


@pytest.mark.chaos
class TestKafkaClusterCrashes(CrashesContract):
    """Processes are killed and paused, and so is one broker after the other."""

    @pytest.fixture
    async def deployment(self, own_cluster: Cluster, seed: int) -> AsyncIterator[ClusterDeployment]:
        breaking = asyncio.create_task(one_away_after_the_other(own_cluster, random.Random(seed)))
        yield ClusterDeployment(own_cluster)
        breaking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await breaking


async def one_away_after_the_other(cluster: Cluster, rng: random.Random) -> None:
    """Kill or pause one broker at a time, the next one when no replica lags."""
    while True:
        node = rng.choice(cluster.nodes)
        async with away(node, rng.choice(("killed", "paused"))):
            await asyncio.sleep(rng.uniform(0.0, 7.0))
        await cluster.wait_until_whole()


@contextlib.asynccontextmanager
async def away(node: KafkaServer, how: Literal["killed", "paused"]) -> AsyncIterator[None]:
    """Have a broker away for as long as the context lasts."""
    if how == "killed":
        node.kill()
    else:
        node.pause()
    try:
        yield
    finally:
        if how == "killed":
            await asyncio.to_thread(node.start)
        else:
            node.resume()


class Steady:
    """Numbers that go somewhere under each of a few keys, all the time; and how far they have come at the end."""

    def __init__(self, name: str, keys: int) -> None:
        self.name = name
        self.written = dict.fromkeys((f"key-{number}" for number in range(keys)), 0)
        self.read: dict[str, list[str]] = {key: [] for key in self.written}
        self.enough = False
        self._news = asyncio.Condition()

    async def write(self, put: Callable[[str, str], Awaitable[object]]) -> None:
        """Put the next number of each key in turn, each when the one before is acknowledged."""
        while not self.enough:
            for key, number in list(self.written.items()):
                await put(key, str(number))
                self.written[key] += 1
            await asyncio.sleep(0.01)

    async def follow(self, bus: Bus, topic: str) -> None:
        """Read to the end and on."""
        async with bus.reader(topic, dict.fromkeys(await ends(bus, topic), 0)) as reader:
            while True:
                for record in await reader.read():
                    self.read[(record.key or b"").decode()].append((record.value or b"").decode())
                async with self._news:
                    self._news.notify_all()

    async def goes_on(self) -> None:
        """Wait until of each key something was read that was written after now."""
        wanted = {key: number + 2 for key, number in self.written.items()}
        began = monotonic()
        async with self._news:
            await self._news.wait_for(lambda: all(len(self.read[key]) >= wanted[key] for key in wanted))
        print(f"{self.name} after {monotonic() - began:.2f} s")

    async def all_read(self) -> None:
        """Wait until as many were read as were written."""
        async with self._news:
            await self._news.wait_for(lambda: all(len(self.read[key]) >= self.written[key] for key in self.written))

    def expected(self) -> dict[str, list[str]]:
        """Return what was written, by key."""
        return {key: [str(number) for number in range(count)] for key, count in self.written.items()}


async def go_on(*steady: Steady) -> None:
    """Wait until all of them do."""
    async with asyncio.timeout(STUCK_AFTER):
        await asyncio.gather(*(each.goes_on() for each in steady))


@pytest.mark.chaos
class TestOneBrokerAway:
    @pytest.mark.parametrize("how", ["killed", "paused"])
    async def test_everything_continues_without_one_broker(
        self, own_cluster: Cluster, how: Literal["killed", "paused"], unique_name: str
    ) -> None:
        """Each broker in turn, so that each leader, each coordinator and the active controller is away once."""
        deployment = ClusterDeployment(own_cluster)
        async with AsyncExitStack() as stack:
            bus, another = [await stack.enter_async_context(deployment.connect()) for _ in range(2)]
            line, topic, target = [await new_topic(bus, partitions) for partitions in (1, 4, 4)]
            transactions, copies = Steady("transactions", 1), Steady("appends and the group that copies them", 4 * KEYS)
            writer = await stack.enter_async_context(bus.writer(unique_name))
            appender = await stack.enter_async_context(bus.appender())
            group = f"g-{unique_name}"
            for each, member in ((bus, "a"), (another, "b")):
                await stack.enter_async_context(each.join(topic, group, member, partial(copy, each, group, target)))
            async with asyncio.TaskGroup() as tasks:
                following = [
                    tasks.create_task(transactions.follow(bus, line)),
                    tasks.create_task(copies.follow(another, target)),
                ]
                writing_on = [
                    tasks.create_task(
                        transactions.write(lambda key, text: writer.commit(writing(line, text, key=key)))
                    ),
                    tasks.create_task(copies.write(lambda key, text: appender.append(topic, outgoing(text, key=key)))),
                ]
                await go_on(transactions, copies)
                for number, node in enumerate(own_cluster.nodes, start=1):
                    print(f"broker {number} {how}:")
                    async with away(node, how):
                        await go_on(transactions, copies)
                    await own_cluster.wait_until_whole()
                transactions.enough = copies.enough = True
                await asyncio.gather(*writing_on)
                async with asyncio.timeout(TIMEOUT):
                    await asyncio.gather(transactions.all_read(), copies.all_read())
                for task in following:
                    task.cancel()
        assert transactions.read == transactions.expected()
        assert copies.read == copies.expected()
