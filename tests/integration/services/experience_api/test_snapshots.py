"""Snapshots on real sockets and a real PostgreSQL, over all ways in which a subscriber is served."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from shared.bus.protocol import Bus, Outgoing
from shared.bus.topics import TopicsOptions
from shared.runtime.tasks import Tasks
from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment, Replica, ReplicaClient, Subscription

PUBLISH = TopicsOptions().publish
LATEST = {"latest": {"channels": ["orders.*"], "interval": 0.01, "page_bytes": 4096}}
WAYS = ["/ws/publish", "/sse/publish", "/events"]
SEED = 20261129
LAST = {("orders.eu", "last"), ("orders.us", "last")}
Events = list[dict[str, Any]]


class Upstream:
    """Publishes states of subjects, and knows the latest ones."""

    def __init__(self, deployment: Deployment, bus: Bus | None = None) -> None:
        """`bus` is that of replicas in other processes."""
        self.deployment = deployment
        self.bus: Bus = bus or deployment.bus
        self.latest: dict[tuple[str, str], int] = {}
        self.number = 0

    async def publish(self, *subjects: tuple[str, str], deleted: bool = False) -> None:
        records = []
        for channel, subject in subjects:
            self.number += 1
            records.append(Outgoing(channel.encode(), self._event(channel, subject, deleted=deleted)))
            self.latest.pop((channel, subject), None)
            if not deleted:
                self.latest[channel, subject] = self.number
        async with self.bus.appender() as appender:
            await appender.append(PUBLISH, records)

    def _event(self, channel: str, subject: str, *, deleted: bool) -> bytes:
        kind = "order.deleted" if deleted else "order"
        event = {"specversion": "1.0", "id": str(self.number), "source": "/sources/orders", "type": kind}
        return json.dumps({**event, "subject": subject, "channel": channel, "data": self.number}).encode()

    async def until_copied(self) -> None:
        ends = [end for _, (_, end) in sorted((await self.bus.bounds(PUBLISH)).items())]
        statement = "SELECT array_agg(position ORDER BY partition) FROM trelay.latest_positions"
        async with self.deployment.sql() as database, asyncio.timeout(TIMEOUT):
            while await database.fetchval(statement) != ends:
                await asyncio.sleep(0.01)


class Copy:
    """What a subscriber knows of the state, over all its connections."""

    def __init__(self) -> None:
        self.state: dict[tuple[str, str], int] = {}
        self.numbers: list[int] = []
        self.phases: list[str] = []
        self.cursor = ""

    def take(self, event: dict[str, Any]) -> None:
        self.cursor = event.get("cursor", self.cursor)
        assert event["type"] != "trelay.gap", event
        if event["type"] == "trelay.snapshot":
            assert "restarted" not in event["data"], event
            self.phases.append(event["data"]["phase"])
        if event["source"] == "/trelay":
            return
        number, subject = event["data"], (event["channel"], event["subject"])
        assert number > self.state.get(subject, 0), "the events of a subject come in their order"
        self.numbers.append(number)
        self.state.pop(subject, None)
        if event["type"] == "order":
            self.state[subject] = number


async def registered(deployment: Deployment, replica: ReplicaClient, names: list[str]) -> dict[str, str]:
    """Add clients, and return their tokens."""
    async with PostgresRegistry.opened(deployment.database) as registry:
        return {name: await replica.register(name, await add_client(registry, name)) for name in names}


@asynccontextmanager
async def connected(replica: Replica, token: str, path: str) -> AsyncIterator[Subscription]:
    """Connect as soon as the connection before has been released."""
    async with AsyncExitStack() as stack:
        subscription: Subscription | None = None
        while subscription is None:
            try:
                subscription = await stack.enter_async_context(replica.connect(token, path=path))
            except WSServerHandshakeError as exc:
                if exc.status not in {409, 503}:
                    raise
                await asyncio.sleep(0.05)
        yield subscription


async def received(replica: Replica, token: str, path: str, query: str, last: str) -> Events:
    """Return what a subscription receives, up to an event of this type or with this id."""
    found: Events = []
    headers = {"Authorization": f"Bearer {token}"}
    async with asyncio.timeout(TIMEOUT):
        if path == "/ws/publish":
            async with replica.connect(token, path=f"{path}?{query}") as subscription:
                while not found or last not in {found[-1]["type"], found[-1]["id"]}:
                    found.append(await subscription.next())
        elif path == "/events":
            while not any(last in {each["type"], each["id"]} for each in found):
                response = await replica.request("GET", f"{path}?wait=0&{query}", headers)
                assert response.status == 200, response
                found += response.json["events"]
                query = f"channels=orders.*&cursor={response.json['cursor']}"
        else:
            async with replica.http.get(replica.url + path + f"?{query}", headers=headers) as stream:
                while not found or last not in {found[-1]["type"], found[-1]["id"]}:
                    line = (await stream.content.readline()).decode()
                    if line.startswith("data: "):
                        found.append(json.loads(line.removeprefix("data: ")))
    return found


@pytest.mark.parametrize("path", WAYS)
async def test_the_state_comes_first_and_then_the_stream(deployment: Deployment, path: str) -> None:
    upstream = Upstream(deployment)
    async with deployment.replica(LATEST) as replica:
        token = await replica.register()
        await upstream.publish(*(("orders.eu", str(number)) for number in range(200)), ("news", "1"))
        await upstream.publish(("orders.eu", "7"), ("orders.us", "7"))
        await upstream.publish(("orders.eu", "8"), deleted=True)
        await upstream.until_copied()
        query = "channels=orders.*&snapshot=true"
        found = await received(
            replica, token, path, query, "trelay.snapshot" if path == "/events" else "trelay.connected"
        )
        await deployment.until_no_connection()
        copy = Copy()
        found = await received(replica, token, path, f"channels=orders.*&cursor={found[-1]['cursor']}", "1")
        for event in found:
            copy.take(event)
        del upstream.latest["news", "1"]
        await deployment.until_no_connection()
        await upstream.publish(("orders.eu", "9"))
        last = str(upstream.number)
        for event in await received(replica, token, path, f"{query}&cursor={copy.cursor}", last):
            copy.take(event)
    assert copy.state == upstream.latest
    assert len(copy.numbers) == len(set(copy.numbers))
    assert copy.phases[-1] == "end"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("count", "size"), [pytest.param(6, 600, id="few"), pytest.param(20, 5000, id="many", marks=pytest.mark.chaos)]
)
async def test_clients_that_join_at_random_know_the_truth(deployment: Deployment, count: int, size: int) -> None:
    print("seed", SEED)
    rng, upstream = random.Random(SEED), Upstream(deployment)
    names = [f"client-{number}" for number in range(count)]
    subjects = [(f"orders.{'eu' if number % 2 else 'us'}", str(number)) for number in range(size)]
    copies = {name: Copy() for name in names}
    async with (
        deployment.replica(LATEST) as one,
        deployment.replica(LATEST) as two,
        Tasks() as tasks,
    ):
        tokens = await registered(deployment, one, names)
        await upstream.publish(*subjects)
        synchronized: set[str] = set()

        async def update() -> None:
            while len(synchronized) < count:
                await upstream.publish(*rng.sample(subjects, 3), deleted=rng.random() < 0.2)
                await asyncio.sleep(0.01)  # the pace of changes: nothing waits for it
            await upstream.publish(*LAST)

        async def follow(name: str) -> None:
            copy, stops = copies[name], random.Random(f"{SEED} {name}")
            while not copy.state.keys() >= LAST:
                query = f"channels=orders.*&snapshot=true&cursor={copy.cursor}"
                replica = stops.choice([one, two])
                async with connected(replica, tokens[name], f"/ws/publish?{query}") as subscription:
                    for _ in range(stops.randrange(1, size // 2)):
                        copy.take(await subscription.next())
                        if copy.state.keys() >= LAST:
                            break
                        if copy.phases[-1:] == ["end"]:
                            synchronized.add(name)

        async with asyncio.timeout(240):
            _ = tasks.start("update", update())
            await asyncio.gather(*map(follow, names))
    for name, copy in copies.items():
        assert copy.state == upstream.latest, name
        assert len(copy.numbers) == len(set(copy.numbers)), name
        assert copy.phases == ["begin", "end"], name


async def test_what_cannot_be_had_is_refused_with_what_to_do(deployment: Deployment) -> None:
    async with deployment.replica(LATEST) as replica:
        token = await replica.register()
        for query, text in (
            ("snapshot=true", "channel '**' are not kept"),
            ("channels=news&snapshot=true", "experience.latest.channels"),
            ("channels=orders.*&snapshot=yes", "expected 'true' or 'false'"),
            ("channels=orders.*&snapshot=true&since=earliest", "'since' and 'snapshot'"),
        ):
            refused = await replica.upgrade(token, query=f"?{query}")
            assert (refused.status, refused.code) == (400, "malformed"), query
            assert text in refused.json["detail"]
    async with deployment.replica() as replica:
        refused = await replica.upgrade(token, query="?channels=orders.eu&snapshot=true")
        assert refused.status == 400
        assert "keeps no latest events" in refused.json["detail"]


async def test_where_no_snapshots_are_sent_a_cursor_of_one_is_a_gap(deployment: Deployment) -> None:
    async with deployment.replica(LATEST) as replica:
        token = await replica.register()
        await Upstream(deployment).publish(("orders.eu", "1"))
        found = await received(replica, token, "/ws/publish", "channels=orders.*&snapshot=true", "trelay.connected")
        await deployment.until_no_connection()
    async with deployment.replica() as replica:
        found = await received(replica, token, "/ws/publish", f"cursor={found[-1]['cursor']}", "trelay.gap")
        assert found[-1]["data"]["reason"] == "cursor-refused"
