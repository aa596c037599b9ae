"""A client that answers heartbeats, behind a proxy that answers pings for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientWebSocketResponse

from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment, Replica, Subscription
from tests.integration.services.experience_api.test_one_connection import replaced_within
from tests.servers.websocket_proxy import websocket_proxy

ANSWER = '{"type":"trelay.heartbeat"}'
PATIENT = {"connections": {"probe_timeout": 8, "lease_seconds": 120}}
"""Long enough that a busy machine does not make a holder look dead."""


@asynccontextmanager
async def connected(replica: Replica, url: str, token: str) -> AsyncIterator[ClientWebSocketResponse]:
    """Connect, and receive the first event."""
    async with replica.http.ws_connect(url, headers={"Authorization": f"Bearer {token}"}) as socket:
        await socket.receive()
        yield socket


async def answering(subscription: Subscription) -> None:
    while True:
        await subscription.until("trelay.heartbeat")
        await subscription.socket.send_str(ANSWER)


async def test_a_proxy_that_answers_pings_makes_a_silent_client_look_alive(deployment: Deployment) -> None:
    async with deployment.replica(PATIENT) as replica, websocket_proxy(replica.url) as proxy:
        token = await replica.register()
        async with connected(replica, f"{proxy.url}/ws/publish?heartbeat=event", token):
            assert (await replica.upgrade(token)).code == "already-connected"


async def test_a_silent_client_that_has_to_answer_is_replaced(deployment: Deployment) -> None:
    options = {"connections": {"probe_timeout": 0.5, "lease_seconds": 120}}
    async with deployment.replica(options) as replica, websocket_proxy(replica.url) as proxy:
        token = await replica.register()
        async with connected(replica, f"{proxy.url}/ws/publish?heartbeat=answer", token) as silent:
            await replaced_within(TIMEOUT, replica.url, token)
            assert (await Subscription(silent).closed())[0] == 4502


async def test_a_client_that_answers_is_not_replaced(deployment: Deployment) -> None:
    async with deployment.replica(PATIENT) as replica, websocket_proxy(replica.url) as proxy:
        token = await replica.register()
        async with connected(replica, f"{proxy.url}/ws/publish?heartbeat=answer", token) as socket:
            task = asyncio.create_task(answering(Subscription(socket)))
            assert (await replica.upgrade(token)).code == "already-connected"
            task.cancel()
            await asyncio.wait([task])


async def test_a_client_that_leaves_heartbeats_unanswered_is_closed_and_its_slot_is_free(
    deployment: Deployment,
) -> None:
    options = {"delivery": {"drain": {"spread": 0}, "hub": {"heartbeat": {"seconds": 0.2}}}}
    async with deployment.replica(options) as replica, websocket_proxy(replica.url) as proxy:
        token = await replica.register()
        async with connected(replica, f"{proxy.url}/ws/publish?heartbeat=answer", token) as silent:
            await deployment.until_no_connection()
            assert (await Subscription(silent).closed())[0] == 4002


@pytest.mark.parametrize("path", ["/sse/publish", "/events"])
async def test_only_a_websocket_can_answer(replica: Replica, path: str) -> None:
    token = await replica.register()
    response = await replica.request("GET", f"{path}?heartbeat=answer", {"Authorization": f"Bearer {token}"})
    assert (response.status, response.code) == (400, "malformed")
