"""Presence on real sockets: one event when a client comes and one when it leaves, however it leaves."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.clients import Policy
from shared.runtime.tasks import started
from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment, Replica, Subscription

PRESENCE = {"presence": {"enabled": True, "left_after": 0}}
WATCH = "/ws/publish?channels=trelay.presence&since=earliest"
Seen = tuple[str, str]


async def client(replica: Replica, name: str, **options: Any) -> str:
    """Add a client, register it, and return its token."""
    return await replica.register(name, await add_client(replica.registry, name, **options))


async def seen(subscription: Subscription, client_id: str, count: int) -> list[Seen]:
    """Return the next events of a client: what happened, and the connection."""
    found: list[Seen] = []
    async with asyncio.timeout(TIMEOUT):
        while len(found) < count:
            event = await subscription.next()
            if event.get("subject") == client_id:
                assert event["channel"] == "trelay.presence"
                found.append((event["type"].rpartition(".")[2], event["data"]["connection"]))
    return found


async def connection_of(subscription: Subscription) -> str:
    return str((await subscription.next())["data"]["connection"])


async def test_every_way_to_leave_is_seen_once_on_all_replicas(deployment: Deployment) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(deployment.replica(PRESENCE))
        two = await stack.enter_async_context(deployment.replica(PRESENCE))
        watching = await stack.enter_async_context(two.connect(await client(two, "watcher"), path=WATCH))
        token = await client(one, "guest", policy=Policy.REPLACE)
        expected: list[Seen] = []
        async with one.connect(token) as first:
            ids = [await connection_of(first)]
            async with two.connect(token) as second:  # replaces the first one
                ids.append(await connection_of(second))
                assert (await first.closed())[0] == 4502
        expected += [("came", ids[0]), ("left", ids[0]), ("came", ids[1]), ("left", ids[1])]
        async with one.connect(token) as third:
            ids.append(await connection_of(third))
            await one.registry.remove("guest")
            assert (await third.closed())[0] == 4503
        expected += [("came", ids[2]), ("left", ids[2])]
        assert await seen(watching, "guest", len(expected)) == expected


async def test_a_client_that_polls_is_not_answered_because_it_polls(deployment: Deployment) -> None:
    """Its requests come and leave: answered with that, it would poll again at once, for ever."""
    async with deployment.replica(PRESENCE) as replica:
        headers = {"Authorization": f"Bearer {await client(replica, 'poller')}"}
        async with replica.connect(await client(replica, "watcher"), path=WATCH) as watching:
            begun = await replica.request("GET", "/events", headers)
            path = f"/events?wait=60&cursor={begun.json['cursor']}"
            polling = started("poll", replica.request("GET", path, headers))
            assert [kind for kind, _ in await seen(watching, "poller", 3)] == ["came", "left", "came"]
            await replica.push("orders", 1)
            found = [event["type"] for event in (await polling).json["events"]]
            assert found[-3:] == ["trelay.presence.left", "trelay.presence.came", "entity.pushed"]


async def test_who_is_there_already_has_come_and_nothing_is_noted_without_the_setting(deployment: Deployment) -> None:
    async with deployment.replica() as quiet:
        token = await client(quiet, "guest")
        async with quiet.connect(token) as first:
            await first.next()
        async with quiet.connect(token) as second:
            connection = await connection_of(second)
            async with deployment.sql() as database:
                assert await database.fetchval("SELECT count(*) FROM trelay.presence_log") == 0
            async with (
                deployment.replica(PRESENCE) as other,
                other.connect(await client(other, "watcher"), path=WATCH) as watching,
            ):
                assert await seen(watching, "guest", 1) == [("came", connection)]
                await second.socket.close()
                assert await seen(watching, "guest", 1) == [("left", connection)]
