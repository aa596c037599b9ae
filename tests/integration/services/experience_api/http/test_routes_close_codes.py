"""/ws/publish: tokens that are refused with a close code, and live connections that end with one."""

import asyncio
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from tests.integration.services.experience_api.replicas import Deployment, Replica

RECONCILING = {"connections": {"reconcile_interval": 0.1}}


def browser(token: str) -> dict[str, Any]:
    """Send the token as a script in a browser does, which can read a close code but no HTTP status."""
    return {"protocols": ("cloudevents.json", f"bearer.{token}")}


async def test_a_browser_gets_a_close_code_for_a_refused_token(replica: Replica) -> None:
    old = await replica.register()
    token = await replica.register()
    async with replica.connect(**browser(old)) as subscription:
        assert await subscription.closed() == (4505, "token refused")
    for bogus in ("a.b.c", token[:-1] + "AE"[token[-1] == "A"]):
        with pytest.raises(WSServerHandshakeError, match="401"):
            async with replica.connect(**browser(bogus)):
                pytest.fail("admitted")
    async with replica.connect(**browser(token)) as subscription:
        await subscription.next()
    await replica.registry.unregister("demo")
    async with replica.connect(**browser(token)) as subscription:
        assert await subscription.closed() == (4505, "token refused")
    await replica.register()
    await replica.registry.disable("demo")
    async with replica.connect(**browser(token)) as subscription:
        assert await subscription.closed() == (
            4505,
            "token refused",
        )  # of another registration: checked first


async def test_a_browser_gets_a_close_code_for_a_disabled_client(replica: Replica) -> None:
    token = await replica.register()
    await replica.registry.disable("demo")
    async with replica.connect(**browser(token)) as subscription:
        assert await subscription.closed() == (4504, "client disabled")


async def test_a_browser_gets_a_close_code_for_an_expired_token(replica: Replica, deployment: Deployment) -> None:
    token = await replica.register()
    await deployment.expire_tokens()
    async with replica.connect(**browser(token)) as subscription:
        assert await subscription.closed() == (4506, "token expired")
    text = (await replica.request("GET", "/metrics")).text
    assert 'trelay_experience_handshakes_total{outcome="token_expired"} 1.0' in text


async def test_a_browser_that_fails_too_often_is_refused_before_the_upgrade(deployment: Deployment) -> None:
    async with deployment.replica({"handshakes": {"failures": 2, "failures_per_second": 0.01}}) as replica:
        old = await replica.register()
        await replica.register()
        for _ in range(2):
            async with replica.connect(**browser(old)) as subscription:
                assert (await subscription.closed())[0] == 4505
        with pytest.raises(WSServerHandshakeError, match="429"):
            async with replica.connect(**browser(old)):
                pytest.fail("admitted")


async def test_a_second_connection_of_a_browser_is_closed_with_a_code(replica: Replica) -> None:
    token = await replica.register()
    async with replica.connect(token) as first, asyncio.TaskGroup() as group:
        await first.next()
        event = group.create_task(first.next())  # a client answers pings while it reads
        async with replica.connect(**browser(token)) as second:
            assert await second.closed() == (4005, "already connected; wait=2.0")
        await replica.push("orders", 1)
        assert (await event)["data"] == {"number": 1}


async def test_a_browser_that_does_not_answer_the_close_frame_is_dropped(replica: Replica) -> None:
    protocols = f"cloudevents.json, bearer.{await replica.register()}"
    await replica.register()
    response = await asyncio.wait_for(replica.upgrade(headers={"Sec-WebSocket-Protocol": protocols}), 60)
    assert response.status == 101


async def test_a_live_connection_is_closed_when_its_token_is_no_longer_valid(deployment: Deployment) -> None:
    """A change made by hand in the database sends no notice."""
    async with deployment.replica(RECONCILING) as replica, deployment.sql() as database:
        async with replica.connect(await replica.register()) as subscription:
            await subscription.next()
            await database.execute("DELETE FROM trelay.consumers")
            assert await subscription.closed() == (4505, "token refused")
        async with replica.connect(await replica.register()) as subscription:
            await subscription.next()
            await database.execute("DELETE FROM trelay.connections; UPDATE trelay.clients SET disabled = true")
            assert await subscription.closed() == (4504, "client disabled")


async def test_a_lost_claim_closes_with_the_code_of_an_expired_token(
    deployment: Deployment,
) -> None:
    """As after a database was restored from an old backup."""
    async with (
        deployment.replica(RECONCILING) as replica,
        deployment.sql() as database,
        replica.connect(await replica.register()) as subscription,
    ):
        await subscription.next()
        await database.execute(
            "UPDATE trelay.consumers SET last_seen_at = '2000-01-01'; DELETE FROM trelay.connections"
        )
        assert await subscription.closed() == (4506, "token expired")
