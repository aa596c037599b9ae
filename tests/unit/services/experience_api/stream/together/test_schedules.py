"""Snapshots, conflation, filters, changes of channels and catching up, all together, in a model of a deployment.

Each seed is one schedule of what happens. A failure names its seed; `run(seed)` repeats it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from services.experience_api.hub.audience import Interest, interest_in
from tests.unit.services.experience_api.stream.together.client import Client
from tests.unit.services.experience_api.stream.together.model import CHANNELS, PARTITIONS, World

SEEDS = 60
STEPS = 120


class Schedule:
    """What happens, by one seed."""

    def __init__(self, world: World, steps: int = STEPS) -> None:
        self.world, self.rng, self.steps = world, world.rng, steps
        self.clients = [
            Client(world, self._interest(), snapshot=self.rng.random() < 0.6, window=self.rng.choice([0, 0, 15]))
            for _ in range(3)
        ]

    def _interest(self) -> Interest:
        names = self.rng.sample(["a", "b", "c", "d.*", "**", "d.x"], self.rng.randint(1, 3))
        filters = {name: f"n > {self.rng.randint(1, 7)}" for name in names if self.rng.random() < 0.3}
        return interest_in(names, filters, self.rng.choice([0.0, 0.0, 0.5]))

    async def run(self) -> None:
        actions = [
            (self._publish, 6), (self._feed, 6), (self._copy, 2), (self._connect, 4), (self._lose, 1), (self._take, 6),
            (self._read, 5), (self._change, 2), (self._beat, 2), (self._drain, 1), (self._pass, 3), (self._away, 1),
            (self._restart, 1), (self._check_live, 3), (self._drop, 1),
        ]  # fmt: skip
        kinds, weights = zip(*actions, strict=True)
        for _ in range(self.steps):
            [action] = self.rng.choices(kinds, weights)
            await action()
            for _ in range(self.rng.choice([0, 0, 1, 3, 10])):
                await self.world.turn()
        await self._settle()

    def _client(self) -> Client:
        return self.rng.choice(self.clients)

    async def _publish(self) -> None:
        for _ in range(self.rng.randint(1, 4)):
            channel, subject = self.rng.choice(CHANNELS), self.rng.choice("1234")
            gone, fill = self.rng.random() < 0.15, self.rng.choice([0, 0, 300, 1500])
            await self.world.publish(channel, subject, self.rng.randint(0, 9), gone=gone, fill=fill)

    async def _feed(self) -> None:
        self.rng.choice(self.world.replicas).feed(self.rng.randrange(PARTITIONS), self.rng.randint(1, 5))

    async def _copy(self) -> None:
        await self.world.copy(self.rng.randint(1, 6))

    async def _connect(self) -> None:
        client = self._client()
        if client.connection is None:
            connecting = asyncio.create_task(client.connect(self.rng.choice(self.world.replicas)))
            await self._done(connecting)

    async def _done(self, task: asyncio.Task[None]) -> None:
        while not task.done():
            self.world.clock.pass_time(0.7)
            await self.world.turn()
        task.result()

    async def _lose(self) -> None:
        self._client().lose()

    async def _take(self) -> None:
        self._client().take(self.rng.choice([1, 3, 1000]))

    async def _read(self) -> None:
        transport = self._client().transport
        if transport is not None:
            transport.peer_reads(self.rng.choice([50, 3000, 10**9]))

    async def _change(self) -> None:
        self._client().change(self._interest())

    async def _beat(self) -> None:
        client = self._client()
        if client.connection is not None and client.replica is not None:
            one = client.connection
            one.outbox.offer(client.replica.control_events.heartbeat(one.subscriber, one.reached))

    async def _drain(self) -> None:
        client = self._client()
        if client.connection is not None and client.replica is not None:
            one = client.connection
            one.outbox.offer(client.replica.control_events.draining(one.subscriber, 0.0, one.reached))
            client.take(1000)
            client.lose()

    async def _pass(self) -> None:
        self.world.clock.pass_time(self.rng.choice([0.1, 0.5, 1.5]))

    async def _away(self) -> None:
        if self.rng.random() < 0.5:
            self.world.latest.unavailable = self.rng.randint(1, 4)
        else:
            self.world.bus.away = self.rng.randint(1, 4)

    async def _restart(self) -> None:
        number = self.rng.randrange(len(self.world.replicas))
        for client in self.clients:
            if client.replica is self.world.replicas[number]:
                client.lose()
        bounds = zip(self.world.earliest, self.world.ends, strict=True)
        start = tuple(max(earliest, end - self.rng.randint(0, 4)) for earliest, end in bounds)
        self.world.replicas[number] = await self.world.start(start)

    async def _check_live(self) -> None:
        """One that is said to be served was written all that its replica has read."""
        for client in self.clients:
            if client.live and client.replica is not None:
                client.ahead().check(client.replica.history.head)

    async def _drop(self) -> None:
        self.world.drop(self.rng.randrange(PARTITIONS), self.rng.randint(1, 6))

    async def _settle(self) -> None:
        """Let everything arrive, and check it."""
        self.world.latest.unavailable = self.world.bus.away = 0
        await self.world.copy(10_000)
        for replica in self.world.replicas:
            for partition in range(PARTITIONS):
                replica.feed(partition, 10_000)
        for client in self.clients:
            while client.connection is None:
                await self._done(asyncio.create_task(client.connect(self.rng.choice(self.world.replicas))))
                self.world.clock.pass_time(2.0)
        for _ in range(5000):
            for client in self.clients:
                assert client.transport is not None
                client.transport.peer_reads(10**9)
            self.world.clock.pass_time(0.6)
            await self.world.turn()
            if all(map(self._is_settled, self.clients)):
                break
        else:
            raise AssertionError("a client does not catch up")
        for client in self.clients:
            client.take(10**9)
            client.check(self.world.ends)

    @staticmethod
    def _is_settled(client: Client) -> bool:
        assert client.replica is not None
        assert client.connection is not None
        assert client.connection.ending is None, client.connection.ending
        position = client.replica.broadcast.position(client.connection)
        return position.live and not position.lag and not client.replica.catch_up._changes.get(client.connection)


async def run(seed: int) -> None:
    async with World.opened(seed) as world:
        with noting(seed):
            await Schedule(world).run()


@contextmanager
def noting(seed: int) -> Iterator[None]:
    """Name the seed in a failure."""
    try:
        yield
    except Exception as exc:
        exc.add_note(f"seed {seed}")
        raise


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
async def test_every_client_receives_what_it_asked_for(first: int) -> None:
    for seed in range(first, first + 10):
        await run(seed)
