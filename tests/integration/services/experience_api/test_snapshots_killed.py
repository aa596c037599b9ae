"""Replicas are killed while they send snapshots and copy what is in them: clients go on at the other one."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from shared.bus.connect import connect
from shared.bus.postgres import PostgresBusOptions
from shared.database.options import DatabaseOptions
from shared.runtime.tasks import Tasks
from tests.e2e.programs import Program
from tests.integration.services.experience_api.replicas import Deployment, ReplicaClient
from tests.integration.services.experience_api.test_pushes_killed import replica
from tests.integration.services.experience_api.test_snapshots import LAST, LATEST, Copy, Upstream, registered
from tests.servers.databases import Databases
from tests.servers.migrated import with_tables

SEED = 20261129
CLIENTS, SUBJECTS = 6, 1500
PAGES = 40
"""After which a replica is killed: a snapshot has about a hundred."""
_WAIT = 120.0


class Client:
    """Takes one snapshot after another, each with some of the stream behind it, over any of the replicas."""

    def __init__(self, name: str, token: str, replicas: list[ReplicaClient]) -> None:
        self.copies = [Copy()]
        self.interrupted: list[Copy] = []
        self.at: ReplicaClient | None = None
        self.synchronized = False
        self._token = token
        self._replicas = replicas
        self._rng = random.Random(f"{SEED} {name}")

    @property
    def copy(self) -> Copy:
        return self.copies[-1]

    def receives_snapshot(self, replica: ReplicaClient) -> bool:
        """Return whether a snapshot has begun on a connection to this replica and has not ended."""
        return self.at is replica and self.copy.phases == ["begin"]

    async def run(self, done: asyncio.Event) -> None:
        """Follow to the last events once `done`: the last snapshot, and each that a kill has interrupted."""
        while not self.copy.state.keys() >= LAST:
            another = await self._follow(self.copy, done)
            if self.copy.phases == ["begin"] and self.copy not in self.interrupted:
                self.interrupted.append(self.copy)
            if another:
                self.copies.append(Copy())
            await asyncio.sleep(0.05)  # before the next attempt to connect
        for copy in self.interrupted:
            while not copy.state.keys() >= LAST:
                await self._follow(copy, done)
                await asyncio.sleep(0.05)

    async def _follow(self, copy: Copy, done: asyncio.Event) -> bool:
        """Go on until the connection breaks; return True once another snapshot is wanted."""
        live = self._rng.randrange(50)
        async with aclosing(self._events(copy.cursor)) as events:
            async for event in events:
                copy.take(event)
                if copy.state.keys() >= LAST:
                    return False
                if copy.phases[-1:] == ["end"]:
                    self.synchronized = self.synchronized or done.is_set()
                    live -= 1
                    if live < 0 and not self.synchronized:
                        return True
        return False

    async def _events(self, cursor: str) -> AsyncGenerator[dict[str, object], None]:
        query = f"channels=orders.*&snapshot=true&cursor={cursor}"
        replica = self._rng.choice(self._replicas)
        try:
            async with replica.connect(self._token, path=f"/ws/publish?{query}") as subscription:
                self.at = replica
                async for message in subscription.socket:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        return
                    yield json.loads(message.data)
        except aiohttp.WSServerHandshakeError as exc:
            if exc.status not in {409, 503}:
                raise
        except (aiohttp.ClientError, OSError):
            return
        finally:
            self.at = None


async def kill_each(one: Program, two: Program, clients: list[Client], second: ReplicaClient, dsn: str) -> None:
    """Kill both replicas in turn, one of them twice, while they send snapshots; leave both running."""
    assert await one.ended(_WAIT) == -9  # it was the first that ran, so it copied as well
    await until_copied_further(dsn)
    one.start(f"snapshot.read:{PAGES}")
    await one.ready()
    async with asyncio.timeout(_WAIT):
        while not any(client.receives_snapshot(second) for client in clients):
            await asyncio.sleep(0.001)
    two.kill()  # it copies, unless the other one has got the lease meanwhile
    two.start()
    assert await one.ended(_WAIT) == -9
    await two.ready()
    await until_copied_further(dsn)
    one.start()
    await one.ready()


async def until_copied_further(dsn: str) -> None:
    """Wait until a replica copies."""
    statement = "SELECT sum(position) FROM trelay.latest_positions"
    database = await asyncpg.connect(dsn)
    try:
        before = await database.fetchval(statement)
        async with asyncio.timeout(_WAIT):
            while await database.fetchval(statement) == before:
                await asyncio.sleep(0.05)
    finally:
        await database.close()


@pytest.mark.chaos
@pytest.mark.timeout(900)
async def test_clients_know_the_truth_whatever_is_killed(tmp_path: Path, databases: Databases) -> None:
    print("seed", SEED)
    rng, options = random.Random(SEED), PostgresBusOptions()
    names = [f"client-{number}" for number in range(CLIENTS)]
    subjects = [(f"orders.{'eu' if number % 2 else 'us'}", str(number)) for number in range(SUBJECTS)]
    async with databases.fresh(with_tables) as dsn, connect(options, database := DatabaseOptions(url=dsn)) as bus:
        deployment = Deployment(database)
        one, one_entity = replica(tmp_path, "one", dsn, options, **LATEST)
        two, two_entity = replica(tmp_path, "two", dsn, options, **LATEST)
        urls = [entity.partition("/entity")[0] for entity in (one_entity, two_entity)]
        try:
            one.start(f"snapshot.written:{PAGES}")
            await one.ready()
            upstream = Upstream(deployment, bus)
            await upstream.publish(*subjects)
            await upstream.until_copied()
            two.start()
            await two.ready()
            async with ReplicaClient.of(urls[0]) as first, ReplicaClient.of(urls[1]) as second, Tasks() as tasks:
                tokens = await registered(deployment, first, names)
                clients = [Client(name, tokens[name], [first, second]) for name in names]
                done = asyncio.Event()

                async def update() -> None:
                    while not all(client.synchronized for client in clients):
                        await upstream.publish(*rng.sample(subjects, 3), deleted=rng.random() < 0.2)
                        await asyncio.sleep(0.01)  # the pace of changes: nothing waits for it
                    await upstream.publish(*LAST)

                async def kill() -> None:
                    await kill_each(one, two, clients, second, dsn)
                    done.set()

                _ = tasks.start("update", update())
                async with asyncio.timeout(600), asyncio.TaskGroup() as group:
                    for client in clients:
                        group.create_task(client.run(done))
                    group.create_task(kill())
        finally:
            one.kill()
            two.kill()
    for client in clients:
        for copy in [client.copy, *client.interrupted]:
            assert copy.state == upstream.latest
        for copy in client.copies:
            assert copy.phases == ["begin", "end"]
            assert len(copy.numbers) == len(set(copy.numbers))
    interrupted = sum(len(client.interrupted) for client in clients)
    print("snapshots", sum(len(client.copies) for client in clients), "of which interrupted", interrupted)
    assert interrupted
