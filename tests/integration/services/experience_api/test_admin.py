"""The admin API of one replica, with PostgreSQL, about connections of another."""

import asyncio
from time import monotonic
from typing import Any

import aiohttp

from tests.integration.services.experience_api.replicas import Deployment, Replica, Subscription

ADMIN = {"admin": {"listen": {"port": 0}}}


async def call(replica: Replica, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    assert replica.service.admin is not None
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, replica.service.admin.url + path, json=body) as response,
    ):
        return response.status, await response.json(content_type=None)


async def test_connections_of_every_replica_are_shown_and_ended_within_two_seconds(deployment: Deployment) -> None:
    async with deployment.replica(ADMIN) as one, deployment.replica() as other:
        token = await one.register()
        async with other.connect(token, path="/ws/publish?channels=orders") as subscription:
            first = await subscription.next()
            await one.push("orders", 1)
            event = await subscription.next()
            status, found = await call(one, "GET", "/consumers/demo")
            (connection,) = found["connections"]
            assert (status, connection["connection_id"]) == (200, first["data"]["connection"])
            assert (connection["cursor"], connection["lag"], connection["live"]) == (event["cursor"], 0, True)
            assert (connection["channels"], connection["from"]) == (["orders"], "127.0.0.1")
            assert connection["acknowledged_bytes"] > 0
            await ends(one, "DELETE", f"/connections/{connection['connection_id']}", subscription, 4007)
        async with other.connect(token) as subscription:
            await subscription.next()
            await ends(one, "POST", "/clients/demo/revoke", subscription, 4503)
        assert (await other.upgrade(token)).code == "token-refused"
        assert (await call(one, "DELETE", "/clients/demo"))[0] == 200
        assert (await call(one, "GET", "/consumers"))[1] == {"consumers": [], "next": None}


async def ends(operated: Replica, method: str, path: str, subscription: Subscription, expected: int) -> None:
    """Ask for something that ends a connection of another replica."""
    began = monotonic()
    assert (await call(operated, method, path))[0] == 200
    assert (await subscription.closed())[0] == expected
    print(f"{expected} after {monotonic() - began:.2f} s")


async def test_the_last_ending_of_each_client_is_kept(deployment: Deployment) -> None:
    async with deployment.replica(ADMIN) as one, deployment.replica() as other:
        token = await one.register()
        assert (await call(one, "GET", "/consumers/demo"))[1]["last_ending"] is None
        async with other.connect(token) as subscription:
            await subscription.next()
            await subscription.socket.close()
        assert await last_ending(one) == (1000, "closed by client")
        async with other.connect(token) as subscription:
            first = await subscription.next()
            await ends(one, "DELETE", f"/connections/{first['data']['connection']}", subscription, 4007)
        assert await last_ending(one, unlike=1000) == (4007, "disconnected by an operator")
        async with other.connect(token) as subscription:
            await subscription.next()
            await one.register()
            await subscription.closed()
        assert await last_ending(one, unlike=4007) == (4501, "replaced by a new registration")
        assert (await call(one, "GET", "/clients/demo"))[1]["last_ending"]["code"] == 4501


async def last_ending(replica: Replica, unlike: int | None = None) -> tuple[int, str]:
    """Wait until the last ending of `demo` is stored; its replica does that after the end."""
    async with asyncio.timeout(60):
        while True:
            ending = (await call(replica, "GET", "/consumers/demo"))[1]["last_ending"]
            if ending is not None and ending["code"] != unlike:
                assert 0 <= ending["lasted_seconds"] < 30
                return ending["code"], ending["reason"]


async def test_two_operators_on_two_replicas_at_once(deployment: Deployment) -> None:
    async with deployment.replica(ADMIN) as one, deployment.replica(ADMIN) as other:
        for _ in range(5):
            new = {"client_id": "shop", "secret": "a secret of its own"}
            added = await asyncio.gather(*(call(each, "POST", "/clients", new) for each in (one, other)))
            assert sorted(status for status, _ in added) == [201, 409]
            rotate = {"overlap": 60}
            rotated = await asyncio.gather(
                *(call(each, "POST", "/clients/shop/rotate", rotate) for each in (one, other))
            )
            assert [status for status, _ in rotated] == [200, 200]
            for _, found in rotated:  # the last one is the secret, and the other one is valid for the overlap
                await one.register("shop", found["client_secret"])
            removed = await asyncio.gather(*(call(each, "DELETE", "/clients/shop") for each in (one, other)))
            assert sorted(status for status, _ in removed) == [200, 404]


async def test_an_operator_publishes_and_reads_what_is_on_the_bus(deployment: Deployment) -> None:
    async with deployment.replica(ADMIN) as one, deployment.replica(ADMIN) as other:
        status, receipt = await call(one, "POST", "/events?channel=orders", {"number": 1})
        assert (status, receipt["accepted"]) == (202, 1)
        status, found = await call(other, "GET", "/events?since=earliest&channels=orders&wait=10")
        assert (status, [event["data"] for event in found["events"]]) == (200, [{"number": 1}])
