"""Long polling, on real sockets."""

import asyncio
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment, Headers, Replica
from tests.servers.vanishing import vanish


async def poll(replica: Replica, token: str, query: str) -> dict[str, Any]:
    response = await replica.request("GET", f"/events{query}", {"Authorization": f"Bearer {token}"})
    assert response.status == 200, response
    return response.json


_WAIT = 60
"""Seconds, the longest that a request may wait."""


def _bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


async def _waiting(replica: Replica, token: str, cursor: str) -> socket.socket:
    """Return a connection whose request waits for events."""
    host, _, port = replica.url.removeprefix("http://").partition(":")
    sock = await asyncio.to_thread(socket.create_connection, (host, int(port)))
    sock.setblocking(False)
    lines = (f"GET /events?cursor={cursor}&wait={_WAIT} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}")
    await asyncio.get_running_loop().sock_sendall(sock, ("\r\n".join(lines) + "\r\n\r\n").encode())
    async with asyncio.timeout(TIMEOUT):
        while await _connections(replica) == 0:
            await asyncio.sleep(0.01)
    return sock


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def _connections(replica: Replica) -> int:
    text = (await replica.request("GET", "/metrics")).text
    line = next(line for line in text.splitlines() if line.startswith("trelay_experience_connections "))
    return int(float(line.split()[1]))


class TestLongPolling:
    async def test_events_are_returned_once_and_in_order(self, replica: Replica) -> None:
        token = await replica.register()
        first = await poll(replica, token, "")
        assert [event["type"] for event in first["events"]] == ["trelay.connected"]
        await replica.push("orders", *range(5))
        numbers: list[int] = []
        cursor = first["cursor"]
        while len(numbers) < 5:
            found = await poll(replica, token, f"?cursor={cursor}&wait=30")
            numbers += [event["data"]["number"] for event in found["events"]]
            cursor = found["cursor"]
        assert numbers == list(range(5))
        assert await poll(replica, token, f"?cursor={cursor}&wait=0") == {"cursor": cursor, "events": []}

    async def test_a_request_waits_for_the_next_event(self, replica: Replica) -> None:
        token = await replica.register()
        cursor = (await poll(replica, token, ""))["cursor"]
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(poll(replica, token, f"?cursor={cursor}&wait=30"))
            while await _connections(replica) == 0:
                await asyncio.sleep(0.01)
            await replica.push("orders", 7)
        assert [event["data"] for event in waiting.result()["events"]] == [{"number": 7}]

    async def test_the_cursor_moves_on_while_nothing_is_for_the_client(self, replica: Replica) -> None:
        token = await replica.register()
        begun = (await poll(replica, token, ""))["cursor"]
        await replica.push("orders", *range(5))
        head, count = begun, 0
        while count < 5:
            found = await poll(replica, token, f"?cursor={head}&wait=30")
            head, count = found["cursor"], count + len(found["events"])
        quiet = await poll(replica, token, f"?channels=quiet&cursor={begun}&wait=0")
        assert quiet == {"cursor": head, "events": []}
        await replica.push("quiet", 7)
        found = await poll(replica, token, f"?channels=quiet&cursor={head}&wait=30")
        assert [event["data"] for event in found["events"]] == [{"number": 7}]

    async def test_a_request_that_does_not_wait_gets_through_the_log(self, deployment: Deployment) -> None:
        options = {"delivery": {"drain": {"spread": 0}, "feed": {"preload": 0}}}
        async with deployment.replica(options) as replica:
            token = await replica.register()
            begun = (await poll(replica, token, ""))["cursor"]
            await replica.push("orders", *range(5))
            await replica.push("quiet", 7)
        async with deployment.replica(options) as replica:
            found = await poll(replica, token, f"?channels=none&cursor={begun}&wait=0")
            assert found["events"] == []
            assert found["cursor"] != begun
            found = await poll(replica, token, f"?channels=quiet&cursor={begun}&wait=0")
            assert [event["data"] for event in found["events"]] == [{"number": 7}]

    async def test_a_gap_is_returned(self, replica: Replica) -> None:
        found = await poll(replica, await replica.register(), "?cursor=broken&wait=5")
        assert [event["type"] for event in found["events"]] == ["trelay.gap"]

    @pytest.mark.parametrize("leave", [socket.socket.close, _reset])
    async def test_a_client_that_has_closed_its_connection_is_admitted_at_once(
        self, replica: Replica, leave: Callable[[socket.socket], None]
    ) -> None:
        token = await replica.register()
        cursor = (await poll(replica, token, ""))["cursor"]
        leave(await _waiting(replica, token, cursor))
        assert (await poll(replica, token, f"?cursor={cursor}&wait=0"))["events"] == []

    @pytest.mark.skipif(sys.platform != "linux", reason="needs TCP_INFO")
    async def test_a_client_that_has_vanished_is_replaced(self, deployment: Deployment, replica: Replica) -> None:
        token = await replica.register()
        cursor = (await poll(replica, token, ""))["cursor"]
        query = f"/events?cursor={cursor}&wait=0"
        async with deployment.replica() as other:
            for now in (replica, other):
                with await _waiting(replica, token, cursor) as left:
                    vanish(left)
                    async with asyncio.timeout(_WAIT / 2):
                        while (response := await now.request("GET", query, _bearer(token))).status != 200:
                            assert response.code == "already-connected"
                            await asyncio.sleep(1)
                    assert response.json == {"cursor": cursor, "events": []}

    async def test_a_client_that_waits_is_not_replaced(self, deployment: Deployment, replica: Replica) -> None:
        token = await replica.register()
        cursor = (await poll(replica, token, ""))["cursor"]
        query = f"/events?cursor={cursor}&wait=0"
        async with deployment.replica() as other:
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(poll(replica, token, f"?cursor={cursor}&wait={_WAIT}"))
                while await _connections(replica) == 0:
                    await asyncio.sleep(0.01)
                for now in (replica, other) * 2:
                    response = await now.request("GET", query, _bearer(token))
                    assert response.code == "already-connected"
                await replica.push("orders", 7)
            assert [event["data"] for event in waiting.result()["events"]] == [{"number": 7}]
            await replica.push("orders", 8)
            found = await poll(replica, token, f"?cursor={waiting.result()['cursor']}&wait={_WAIT}")
            assert [event["data"] for event in found["events"]] == [{"number": 8}]
