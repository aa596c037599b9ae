"""How the service begins, goes through outages, and ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from services.experience_api.app import build_experience_api
from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.settings import ExperienceSettings
from services.standalone.embedded.postgres import PostgresServer
from shared.bus.memory import MemoryBus
from shared.database.engine import create_engine
from shared.database.options import DatabaseOptions
from tests.integration.services.experience_api.replicas import (
    PATIENCE,
    Deployment,
    Knocker,
    Replica,
    ready,
    settings,
)

QUICK: dict[str, Any] = {"connections": {"lease_seconds": 1, "answer_within": 0.5}}


@asynccontextmanager
async def running(options: ExperienceSettings) -> AsyncIterator[Knocker]:
    """Run the service, whether or not what it needs is there."""
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(build_experience_api(options, bus=MemoryBus()))
        yield await stack.enter_async_context(Knocker.of(service.listening.url))


async def until_missing(knocker: Knocker, part: str) -> str:
    """Wait until the replica says that a part is missing, and return the reason."""
    async with asyncio.timeout(PATIENCE):
        while part not in (found := (await knocker.ask("GET", "/readyz")).json["missing"]):
            await asyncio.sleep(0.02)
    return str(found[part])


async def test_a_database_that_is_not_there_yet_is_waited_for_and_migrated(own_postgres: PostgresServer) -> None:
    options = DatabaseOptions(url=own_postgres.dsn())
    await asyncio.to_thread(own_postgres.stop)
    async with running(settings(options)) as knocker:
        assert (await knocker.ask("GET", "/healthz")).status == 200
        assert (await knocker.ask("GET", "/metrics")).status == 200
        assert await until_missing(knocker, "registry")
        assert await until_missing(knocker, "node_lease")
        for answer in (
            await knocker.ask("POST", "/consumers", {"client_id": "demo", "client_secret": "demo"}),
            await knocker.knock("a.b.c"),
        ):
            assert (answer.status, answer.code) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        await asyncio.to_thread(own_postgres.start)
        await ready(knocker)
        engine = create_engine(options)
        await add_client(PostgresRegistry(engine, options), "demo", secret="demo")
        await engine.dispose()
        async with knocker.connect(await knocker.register()) as subscription:
            assert (await subscription.next())["type"] == "trelay.connected"


async def test_a_restart_of_the_database_is_not_noticed_by_the_connected(own_postgres: PostgresServer) -> None:
    """The lease outlives it; who knocks meanwhile is told to come back."""
    options = DatabaseOptions(url=own_postgres.dsn())
    async with running(settings(options)) as knocker:
        await ready(knocker)
        engine = create_engine(options)
        registry = PostgresRegistry(engine, options)
        await add_client(registry, "demo", secret="demo")
        await add_client(registry, "other", secret="other")
        other = await knocker.register("other", "other")
        async with knocker.connect(await knocker.register()) as subscription:
            await subscription.next()
            await asyncio.to_thread(own_postgres.stop)
            answer = await knocker.knock(other)
            assert (answer.status, answer.code) == (503, "unavailable")
            await knocker.push("orders", 1)
            assert (await subscription.next())["data"] == {"number": 1}
            await asyncio.to_thread(own_postgres.start)
            await ready(knocker)
            async with asyncio.timeout(PATIENCE):
                while (await knocker.knock(other)).status == 503:
                    await asyncio.sleep(0.02)
            await knocker.push("orders", 2)
            assert (await subscription.next())["data"] == {"number": 2}
        await engine.dispose()


async def test_when_the_database_is_away_for_too_long_connections_are_closed_to_come_back(
    own_postgres: PostgresServer,
) -> None:
    options = DatabaseOptions(url=own_postgres.dsn())
    async with running(settings(options, QUICK)) as knocker:
        await ready(knocker)
        engine = create_engine(options)
        await add_client(PostgresRegistry(engine, options), "demo", secret="demo")
        await engine.dispose()
        token = await knocker.register()
        async with knocker.connect(token) as subscription:
            await subscription.next()
            await asyncio.to_thread(own_postgres.stop)
            assert (await subscription.closed())[0] == 4004
        assert await until_missing(knocker, "node_lease")
        await asyncio.to_thread(own_postgres.start)
        await ready(knocker)
        async with knocker.connect(token) as again:
            await again.next()


async def test_whoever_leaves_sends_its_subscribers_away_and_releases_their_claims(deployment: Deployment) -> None:
    async with AsyncExitStack() as clients, deployment.replica() as stays:
        token = await stays.register()
        async with deployment.replica() as leaves:
            client = await clients.enter_async_context(Knocker.of(leaves.url))
            subscription = await clients.enter_async_context(client.connect(token))
            await subscription.next()
            ending = asyncio.create_task(subscription.closed())
        code, reason = await ending
        assert code == 4000
        assert reason.startswith("draining; wait=")
        await deployment.until_nobody_is_connected()
        async with stays.connect(token) as again:
            await again.next()


async def test_a_replica_that_drains_lets_nobody_in(deployment: Deployment) -> None:
    """A subscriber that does not answer the Close frame keeps it from being done with at once."""
    started: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def live() -> None:
        async with deployment.replica() as replica:
            await add_client(replica.registry, "other", secret="other")
            started.set_result(replica)
            await leave.wait()

    async with asyncio.TaskGroup() as group, AsyncExitStack() as clients:
        _ = group.create_task(live())
        replica = await started
        client = await clients.enter_async_context(Knocker.of(replica.url))
        other = await client.register("other", "other")
        silent = await clients.enter_async_context(client.connect(await client.register()))
        await silent.next()
        leave.set()
        async with asyncio.timeout(PATIENCE):
            while not replica.health.readiness.draining:
                await asyncio.sleep(0.001)
        answers = [
            await client.knock(other),
            await client.ask("POST", "/consumers", {"client_id": "other", "client_secret": "other"}),
            await client.ask("POST", "/entity?channel=a", {"Content-Type": "application/json"}, b"{}"),
        ]
        assert [(answer.status, answer.code) for answer in answers] == [(503, "draining")] * 3
        readyz = await client.ask("GET", "/readyz")
        assert (readyz.status, readyz.json["draining"]) == (503, True)


async def test_metrics_tell_what_became_of_each_request(deployment: Deployment) -> None:
    async with deployment.replica() as replica:
        await replica.knock("a.b.c")
        await replica.ask("POST", "/consumers", {"client_id": "demo", "client_secret": "wrong"})
        async with replica.connect(await replica.register()) as subscription:
            await subscription.next()
            await replica.push("orders", 1)
            await subscription.next()
            text = (await replica.ask("GET", "/metrics")).text
    for line in (
        'trelay_experience_handshakes_total{outcome="token-refused"} 1.0',
        'trelay_experience_handshakes_total{outcome="accepted"} 1.0',
        'trelay_experience_registrations_total{outcome="wrong-credentials"} 1.0',
        'trelay_experience_registrations_total{outcome="accepted"} 1.0',
        'trelay_experience_pushes_total{outcome="accepted"} 1.0',
        "trelay_experience_connections 1.0",
        "trelay_experience_deliveries_total 1.0",
        'trelay_experience_delay_seconds_count{source="entity"} 1.0',
    ):
        assert line in text
