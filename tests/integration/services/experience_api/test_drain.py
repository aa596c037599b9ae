"""A replica that drains: another one continues what it served, in every way in which subscribers are served."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest

from services.experience_api.latest.postgres import PostgresLatestEvents
from shared.runtime.tasks import started
from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment, Headers, ReplicaClient
from tests.integration.services.experience_api.test_snapshots import LATEST, Copy, Upstream

QUERY = "channels=orders.*&snapshot=true"


async def until_connections(client: ReplicaClient, count: int) -> None:
    """Wait until a replica serves so many connections."""
    async with asyncio.timeout(TIMEOUT):
        while f"trelay_experience_connections {count}.0" not in (await client.request("GET", "/metrics")).text:
            await asyncio.sleep(0.01)


async def events_of(client: ReplicaClient, headers: Headers, path: str) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the events of a subscription, until it ends."""
    if path.startswith("/ws/"):
        async with client.connect(path=path, headers=headers) as subscription:
            async for message in subscription.socket:
                yield json.loads(message.data)
        return
    async with client.http.get(client.url + path, headers=headers) as response:
        async for line in response.content:
            if line.startswith(b"data: ") and b'"specversion"' in line:
                yield json.loads(line.removeprefix(b"data: "))


async def test_a_request_that_waits_is_answered_and_continues_at_another_replica(deployment: Deployment) -> None:
    async with AsyncExitStack() as stack, deployment.replica() as other:
        draining = await stack.enter_async_context(deployment.replica())
        async with ReplicaClient.of(draining.url) as client:
            headers = {"Authorization": f"Bearer {await other.register()}"}
            begun = (await client.request("GET", "/events", headers)).json
            await deployment.until_no_connection()
            path = "/events?wait=60&cursor="
            polling = started("poll", client.request("GET", path + begun["cursor"], headers))
            await until_connections(client, 1)
            await stack.aclose()
            found = await polling
        assert found.status == 200
        assert found.json["closed"]["code"] == 4000
        assert "; wait=" in found.json["closed"]["reason"]
        assert [event["type"] for event in found.json["events"]] in ([], ["trelay.draining"])
        await other.push("orders", 1)
        found = await other.request("GET", path + found.json["cursor"], headers)
        assert [event["data"] for event in found.json["events"]] == [{"number": 1}]


@pytest.mark.parametrize("way", ["/ws/publish", "/sse/publish"])
async def test_a_snapshot_continues_at_another_replica(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    upstream, copy = Upstream(deployment), Copy()
    page, third, holding, pages = PostgresLatestEvents.page, asyncio.Event(), asyncio.Event(), 0

    async def held(self: PostgresLatestEvents, *arguments: Any) -> Any:
        nonlocal pages
        pages += 1
        if pages > 2:
            third.set()
            await holding.wait()
        return await page(self, *arguments)

    monkeypatch.setattr(PostgresLatestEvents, "page", held)
    async with AsyncExitStack() as stack, deployment.replica(LATEST) as other:
        draining = await stack.enter_async_context(deployment.replica(LATEST))
        await upstream.publish(*(("orders.eu", str(number)) for number in range(200)))
        await upstream.until_copied()
        headers = {"Authorization": f"Bearer {await other.register()}"}
        async with (
            ReplicaClient.of(draining.url) as client,
            aclosing(events_of(client, headers, f"{way}?{QUERY}")) as events,
            asyncio.timeout(TIMEOUT),
        ):
            copy.take(await anext(events))
            await third.wait()
            left = started("drain", stack.aclose())
            types = [_taken(copy, event) async for event in events]
            await left
        assert types[-1] == "trelay.draining"
        assert 0 < len(copy.numbers) < 200, "it was interrupted"
        holding.set()
        await deployment.until_no_connection()
        await upstream.publish(("orders.eu", "7"))
        again = events_of(other, headers, f"{way}?{QUERY}&cursor={copy.cursor}")
        async with aclosing(again) as events, asyncio.timeout(TIMEOUT):
            while copy.state != upstream.latest or copy.phases[-1] != "end":
                copy.take(await anext(events))
    assert copy.phases == ["begin", "end"]
    assert len(copy.numbers) == len(set(copy.numbers))


def _taken(copy: Copy, event: dict[str, Any]) -> str:
    copy.take(event)
    return str(event["type"])
