"""The service from its start, through outages, to its shutdown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import WSServerHandshakeError

from services.experience_api.app import build_experience_api
from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.settings import ExperienceSettings
from services.standalone.embedded.postgres import PostgresServer
from shared.bus.memory import MemoryBus
from shared.database.options import DatabaseOptions
from shared.runtime.clock import SystemClock
from tests.integration.services.experience_api.cutting import linked
from tests.integration.services.experience_api.replicas import (
    TIMEOUT,
    Deployment,
    Replica,
    ReplicaClient,
    Subscription,
    ready,
    settings,
)

QUICK: dict[str, Any] = {"connections": {"lease_seconds": 1, "probe_timeout": 0.5}}


@asynccontextmanager
async def running(options: ExperienceSettings) -> AsyncIterator[ReplicaClient]:
    """Run the service, whether or not its dependencies are available."""
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(build_experience_api(options, bus=MemoryBus()))
        yield await stack.enter_async_context(ReplicaClient.of(service.listening.url))


async def until_missing(client: ReplicaClient, part: str) -> str:
    """Wait until the replica reports a part as missing, and return the reason."""
    async with asyncio.timeout(TIMEOUT):
        while part not in (found := (await client.request("GET", "/readyz")).json["missing"]):
            await asyncio.sleep(0.02)
    return str(found[part])


@asynccontextmanager
async def admitted(client: ReplicaClient, token: str) -> AsyncIterator[Subscription]:
    """Connect as clients do: again while the replica is unavailable.

    A lease of a second lapses whenever the machine is busy for as long.
    """
    async with AsyncExitStack() as stack:
        subscription: Subscription | None = None
        async with asyncio.timeout(TIMEOUT):
            while subscription is None:
                try:
                    subscription = await stack.enter_async_context(client.connect(token))
                except WSServerHandshakeError as exc:
                    if exc.status != 503:
                        raise
                    await asyncio.sleep(0.02)
        yield subscription


async def test_the_service_waits_for_an_unavailable_database_and_migrates_it(own_postgres: PostgresServer) -> None:
    options = DatabaseOptions(url=own_postgres.dsn())
    await asyncio.to_thread(own_postgres.stop)
    async with running(settings(options)) as client:
        assert (await client.request("GET", "/healthz")).status == 200
        assert (await client.request("GET", "/metrics")).status == 200
        assert await until_missing(client, "registry")
        assert await until_missing(client, "node_lease")
        for response in (
            await client.request("POST", "/consumers", {"client_id": "demo", "client_secret": "demo"}),
            await client.upgrade("a.b.c"),
        ):
            assert (response.status, response.code) == (503, "unavailable")
            assert int(response.headers["Retry-After"]) >= 1
        await asyncio.to_thread(own_postgres.start)
        await ready(client)
        async with PostgresRegistry.opened(options) as registry:
            await add_client(registry, "demo", secret="demo")
        async with client.connect(await client.register()) as subscription:
            assert (await subscription.next())["type"] == "trelay.connected"


async def test_a_restart_of_the_database_does_not_affect_connections(own_postgres: PostgresServer) -> None:
    """The lease outlives it; new connections are refused as unavailable meanwhile."""
    options = DatabaseOptions(url=own_postgres.dsn())
    async with running(settings(options)) as client:
        await ready(client)
        async with PostgresRegistry.opened(options) as registry:
            await add_client(registry, "demo", secret="demo")
            await add_client(registry, "other", secret="other")
        other = await client.register("other", "other")
        async with client.connect(await client.register()) as subscription:
            await subscription.next()
            await asyncio.to_thread(own_postgres.stop)
            response = await client.upgrade(other)
            assert (response.status, response.code) == (503, "unavailable")
            await client.push("orders", 1)
            assert (await subscription.next())["data"] == {"number": 1}
            await asyncio.to_thread(own_postgres.start)
            await ready(client)
            async with asyncio.timeout(TIMEOUT):
                while (await client.upgrade(other)).status == 503:
                    await asyncio.sleep(0.02)
            await client.push("orders", 2)
            assert (await subscription.next())["data"] == {"number": 2}


async def test_connections_outlive_an_outage_of_the_database(own_postgres: PostgresServer) -> None:
    """However long it is: nobody else can claim them without the database. Others are told to come back later."""
    options = DatabaseOptions(url=own_postgres.dsn())
    async with running(settings(options, QUICK)) as client:
        await ready(client)
        async with PostgresRegistry.opened(options) as registry:
            for name in ("demo", "other"):
                await add_client(registry, name, secret=name)
        other = await client.register("other", "other")
        async with admitted(client, await client.register()) as subscription:
            await subscription.next()
            await asyncio.to_thread(own_postgres.stop)
            assert await until_missing(client, "node_lease")
            refused = await client.upgrade(other)
            assert (refused.status, refused.code) == (503, "unavailable")
            assert int(refused.headers["Retry-After"]) >= 1
            await client.push("orders", 1)
            assert (await subscription.next())["data"] == {"number": 1}
            await asyncio.to_thread(own_postgres.start)
            await ready(client)
            await client.push("orders", 2)
            assert (await subscription.next())["data"] == {"number": 2}
            async with admitted(client, other) as second:
                await second.next()
            assert (await client.register("other", "other")) != other
            await client.push("orders", 3)
            assert (await subscription.next())["data"] == {"number": 3}


async def test_a_replica_cut_off_from_the_database_keeps_what_no_other_replica_has_taken_over(
    deployment: Deployment,
) -> None:
    async with AsyncExitStack() as stack:
        link, url = await stack.enter_async_context(linked(deployment.database.url))
        behind = Deployment(deployment.database.model_copy(update={"url": url}), deployment.bus)
        whole = await stack.enter_async_context(deployment.replica(QUICK))
        cut_off = await stack.enter_async_context(behind.replica(QUICK))
        await add_client(whole.registry, "other", secret="other")
        token, other = await whole.register(), await whole.register("other", "other")
        taken = await stack.enter_async_context(cut_off.connect(token))
        kept = await stack.enter_async_context(cut_off.connect(other))
        for subscription in (taken, kept):
            await subscription.next()
        link.cut_now()
        assert await until_missing(cut_off, "node_lease")
        await whole.push("orders", 1)
        assert (await taken.next())["data"] == (await kept.next())["data"] == {"number": 1}
        async with whole.connect(token) as instead:
            assert (await instead.next())["type"] == "trelay.connected"
            assert (await taken.closed())[0] == 4502
            await whole.push("orders", 2)
            assert (await instead.next())["data"] == {"number": 2}
            assert (await kept.next())["data"] == {"number": 2}
            link.cut = False
            await ready(cut_off)
            await whole.push("orders", 3)
            assert (await kept.next())["data"] == {"number": 3}
            assert (await instead.next())["data"] == {"number": 3}


async def test_a_stopping_replica_closes_its_subscribers_and_releases_their_claims(
    deployment: Deployment,
) -> None:
    async with AsyncExitStack() as clients, deployment.replica() as stays:
        token = await stays.register()
        async with deployment.replica() as leaves:
            client = await clients.enter_async_context(ReplicaClient.of(leaves.url))
            subscription = await clients.enter_async_context(client.connect(token))
            await subscription.next()
            ending = asyncio.create_task(subscription.closed())
        code, reason = await ending
        assert code == 4000
        assert reason.startswith("draining; wait=")
        await deployment.until_no_connection()
        async with stays.connect(token) as again:
            await again.next()


class HeldClock(SystemClock):
    """Lets the sleep of the drain last until the test ends it."""

    DELAY = 17.25

    def __init__(self) -> None:
        self.draining, self.go_on = asyncio.Event(), asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if seconds != self.DELAY:
            await super().sleep(seconds)
            return
        self.draining.set()
        await self.go_on.wait()


async def test_a_stopping_replica_serves_as_before_until_load_balancers_have_noticed(deployment: Deployment) -> None:
    clock, leave = HeldClock(), asyncio.Event()
    started: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()

    async def live() -> None:
        async with deployment.replica({"drain_delay": clock.DELAY}, clock=clock) as replica:
            await add_client(replica.registry, "other", secret="other")
            started.set_result(replica)
            await leave.wait()

    async with asyncio.TaskGroup() as group, AsyncExitStack() as clients:
        _ = group.create_task(live())
        client = await clients.enter_async_context(ReplicaClient.of((await started).url))
        old = await clients.enter_async_context(client.connect(await client.register()))
        await old.next()
        leave.set()
        await clock.draining.wait()
        readyz = await client.request("GET", "/readyz")
        assert (readyz.status, readyz.json["draining"]) == (503, True)
        late = await clients.enter_async_context(client.connect(await client.register("other", "other")))
        assert (await late.next())["type"] == "trelay.connected"
        await client.push("orders", 1)
        for subscription in (old, late):
            assert (await subscription.next())["data"] == {"number": 1}
        clock.go_on.set()
        for subscription in (old, late):
            assert (await subscription.closed())[0] == 4000


async def test_a_draining_replica_refuses_every_request(deployment: Deployment) -> None:
    """A subscriber that does not answer the Close frame delays the shutdown."""
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
        client = await clients.enter_async_context(ReplicaClient.of(replica.url))
        other = await client.register("other", "other")
        silent = await clients.enter_async_context(client.connect(await client.register()))
        await silent.next()
        leave.set()
        async with asyncio.timeout(TIMEOUT):
            while not replica.health.readiness.draining:
                await asyncio.sleep(0.001)
        responses = [
            await client.upgrade(other),
            await client.request("POST", "/consumers", {"client_id": "other", "client_secret": "other"}),
            await client.request("POST", "/entity?channel=a", {"Content-Type": "application/json"}, b"{}"),
        ]
        assert [(response.status, response.code) for response in responses] == [(503, "draining")] * 3
        readyz = await client.request("GET", "/readyz")
        assert (readyz.status, readyz.json["draining"]) == (503, True)


async def test_metrics_count_the_outcome_of_each_request(deployment: Deployment) -> None:
    async with deployment.replica() as replica:
        await replica.upgrade("a.b.c")
        await replica.request("POST", "/consumers", {"client_id": "demo", "client_secret": "wrong"})
        async with replica.connect(await replica.register()) as subscription:
            await subscription.next()
            await replica.push("orders", 1)
            await subscription.next()
            text = (await replica.request("GET", "/metrics")).text
    for line in (
        'trelay_experience_handshakes_total{outcome="token_refused"} 1.0',
        'trelay_experience_handshakes_total{outcome="accepted"} 1.0',
        'trelay_experience_registrations_total{outcome="wrong_credentials"} 1.0',
        'trelay_experience_registrations_total{outcome="accepted"} 1.0',
        'trelay_experience_pushes_total{outcome="accepted"} 1.0',
        "trelay_experience_connections 1.0",
        "trelay_experience_deliveries_total 1.0",
        'trelay_experience_delay_seconds_count{source="entity"} 1.0',
    ):
        assert line in text
