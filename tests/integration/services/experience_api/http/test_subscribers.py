"""Tickets, event streams, and cross-origin requests, on real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment, Headers, Replica

APP = {"Origin": "https://app.example.com"}


class EventStream:
    """The client's end of an event stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def entry(self) -> dict[str, str]:
        """Return the next entry by field; comments are skipped."""
        found: dict[str, str] = {}
        async with asyncio.timeout(TIMEOUT):
            while True:
                line = (await self.response.content.readline()).decode()
                assert line, "the stream has ended"
                if line == "\n" and found:
                    return found
                name, _, value = line.rstrip("\n").partition(": ")
                if name and name != ":":
                    found[name] = value

    async def next(self) -> dict[str, Any]:
        """Return the next event."""
        entry = await self.entry()
        found: dict[str, Any] = json.loads(entry["data"])
        assert entry.get("id") == found.get("cursor")
        return found


@asynccontextmanager
async def stream(replica: Replica, token: str | None, query: str = "", headers: Headers | None = None) -> AsyncIterator[EventStream]:  # fmt: skip # noqa: E501
    lines = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
    async with replica.http.get(f"{replica.url}/sse/publish{query}", headers=lines) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        yield EventStream(response)


async def ticket(replica: Replica, token: str, headers: Headers | None = None, query: str = "") -> str:
    response = await replica.request(
        "POST", f"/tickets{query}", {"Authorization": f"Bearer {token}", **(headers or {})}
    )
    assert response.status == 201, response
    return str(response.json["ticket"])


class TestEventStreams:
    async def test_events_arrive_and_the_last_id_resumes(self, deployment: Deployment, replica: Replica) -> None:
        token = await replica.register()
        async with stream(replica, token, "?channels=orders.*") as first:
            assert (await first.next())["type"] == "trelay.connected"
            await replica.push("other", 0)
            await replica.push("orders.eu", 1, 2)
            event = await first.next()
            assert (event["channel"], event["data"]) == ("orders.eu", {"number": 1})
        await deployment.until_no_connection()
        async with stream(replica, token, "?cursor=old", {"Last-Event-ID": event["cursor"]}) as again:
            await again.next()
            assert (await again.next())["data"] == {"number": 2}

    async def test_a_client_has_one_connection_over_all_transports(self, replica: Replica) -> None:
        token = await replica.register()
        async with stream(replica, token) as found:
            await found.next()
            assert (await replica.upgrade(token)).code == "already-connected"
            response = await replica.request("GET", "/events", {"Authorization": f"Bearer {token}"})
            assert response.code == "already-connected"
            await replica.push("orders", 1)
            assert (await found.next())["data"] == {"number": 1}

    async def test_the_last_entry_says_why_it_ends(self, replica: Replica) -> None:
        token = await replica.register()
        async with stream(replica, token) as found:
            await found.next()
            await replica.register()
            entry = await found.entry()
            assert entry["event"] == "trelay.closed"
            assert json.loads(entry["data"])["code"] == 4501
            assert await found.response.content.read() == b""

    async def test_more_than_the_outbox_holds_arrives_from_the_log(self, deployment: Deployment) -> None:
        options = {"delivery": {"drain": {"spread": 0}, "hub": {"outbox_bytes": 262_144}}}
        async with deployment.replica(options) as replica:
            token = await replica.register()
            async with stream(replica, token) as found:
                await found.next()
                body = json.dumps({"fill": "x" * 100_000}).encode()
                for _ in range(40):
                    response = await replica.request(
                        "POST", "/entity?channel=a", {"Content-Type": "application/json"}, body
                    )
                    assert response.status == 202
                found.response._connection.protocol._read_bufsize = 2**24  # type: ignore[union-attr]
                content = b""
                async with asyncio.timeout(TIMEOUT):
                    while content.count(b"\nid: ") + content.startswith(b"id: ") < 40 or not content.endswith(b"\n\n"):
                        content += await found.response.content.readany()
                cursors = [line for line in content.split(b"\n") if line.startswith(b"id: ")]
                assert len(set(cursors)) == 40

    async def test_heartbeats_are_events_on_request(self, deployment: Deployment) -> None:
        options = {"delivery": {"drain": {"spread": 0}, "hub": {"heartbeat": {"seconds": 0.5}}}}
        async with deployment.replica(options) as replica:
            token = await replica.register()
            async with stream(replica, token, "?heartbeat=event") as found:
                await found.next()
                assert (await found.next())["type"] == "trelay.heartbeat"
            await deployment.until_no_connection()
            async with replica.connect(token, path="/ws/publish?heartbeat=event&channels=quiet") as subscription:
                begun = (await subscription.next())["cursor"]
                async with asyncio.TaskGroup() as group:  # a client answers pings while it reads
                    _ = group.create_task(replica.push("orders", 1))
                    while (heartbeat := await subscription.until("trelay.heartbeat"))["cursor"] == begun:
                        pass
            await deployment.until_no_connection()
            path = f"/ws/publish?heartbeat=event&cursor={heartbeat['cursor']}"
            async with replica.connect(token, path=path) as subscription:
                assert (await subscription.next())["type"] == "trelay.connected"
                assert (await subscription.next())["type"] == "trelay.heartbeat", "what was for others does not come"
            await deployment.until_no_connection()
            async with replica.connect(token, path="/ws/publish?heartbeat=event") as subscription:
                await subscription.until("trelay.heartbeat")
                for space in ("", " ", "\n\t"):
                    text = f'{{{space}"type":{space}"trelay.heartbeat"{space}}}'
                    await subscription.socket.send_str(text)
                    await subscription.until("trelay.heartbeat")
                await subscription.socket.send_str('{"type": "trelay.heartbeat", "data": 1}')
                assert (await subscription.closed())[0] == 4500, "it says more than that the client lives"


class TestTickets:
    async def test_a_ticket_connects_once_on_any_replica(self, deployment: Deployment, replica: Replica) -> None:
        token = await replica.register()
        found = await ticket(replica, token)
        async with deployment.replica() as other:
            async with other.connect(path=f"/ws/publish?ticket={found}") as subscription:
                assert (await subscription.next())["type"] == "trelay.connected"
            response = await replica.upgrade(query=f"?ticket={found}")
            assert (response.status, response.code) == (401, "ticket-refused")

    async def test_a_ticket_is_for_pages_of_its_origin(self, deployment: Deployment, replica: Replica) -> None:
        token = await replica.register()
        bound = await ticket(replica, token, query="?origin=https://app.example.com")
        for headers in ({}, {"Origin": "https://evil.example"}):
            assert (await replica.upgrade(query=f"?ticket={bound}", headers=headers)).code == "ticket-refused"
        async with stream(replica, None, f"?ticket={bound}", APP) as found:
            await found.next()

    async def test_a_ticket_is_no_token_and_a_token_is_no_ticket(self, replica: Replica) -> None:
        token = await replica.register()
        assert (await replica.upgrade(await ticket(replica, token))).code == "token-refused"
        assert (await replica.upgrade(query=f"?ticket={token}")).code == "ticket-refused"

    async def test_a_ticket_of_a_replaced_token_is_refused_with_a_code(self, replica: Replica) -> None:
        token = await replica.register()
        found = await ticket(replica, token)
        await replica.register()
        async with replica.connect(path=f"/ws/publish?ticket={found}", protocols=("cloudevents.json",)) as socket:
            assert await socket.closed() == (4505, "token refused")
        response = await replica.request("POST", "/tickets", {"Authorization": f"Bearer {token}"})
        assert response.code == "token-refused"


class TestPages:
    async def test_allowed_pages_may_ask_and_read(self, deployment: Deployment) -> None:
        async with deployment.replica({"origins": ["https://app.example.com"]}) as replica:
            token = await replica.register()
            preflight = await replica.request("OPTIONS", "/tickets", {**APP, "Access-Control-Request-Method": "POST"})
            assert preflight.status == 204
            assert preflight.headers["Access-Control-Allow-Origin"] == APP["Origin"]
            refused = await replica.request("POST", "/tickets", APP)
            assert refused.status == 401
            assert refused.headers["Access-Control-Allow-Origin"] == APP["Origin"]
            async with stream(replica, token, headers=APP) as found:
                assert found.response.headers["Access-Control-Allow-Origin"] == APP["Origin"]
            other = await replica.upgrade(token, headers={"Origin": "https://evil.example"})
            assert (other.status, other.code) == (403, "origin-not-allowed")

    @pytest.mark.parametrize(
        ("query", "code"), [("?channels=secret", 4508), ("?nonsense=1", 4509), ("?snapshot=true", 4509)]
    )
    async def test_refusals_of_a_genuine_token_have_a_close_code(self, replica: Replica, query: str, code: int) -> None:
        async with deployment_client(replica) as token:
            protocols = ("cloudevents.json", f"bearer.{token}")
            async with replica.connect(path=f"/ws/publish{query}", protocols=protocols) as socket:
                assert (await socket.closed())[0] == code

    async def test_a_bogus_token_is_refused_before_the_upgrade(self, replica: Replica) -> None:
        response = await replica.upgrade(headers={"Sec-WebSocket-Protocol": "cloudevents.json, bearer.a.b.c"})
        assert (response.status, response.code) == (401, "token-refused")


@asynccontextmanager
async def deployment_client(replica: Replica) -> AsyncIterator[str]:
    """A client that may read `orders` only."""
    from services.experience_api.auth.clients import add_client  # noqa: PLC0415

    await add_client(replica.registry, "narrow", secret="narrow", channels=("orders",))
    yield await replica.register("narrow", "narrow")
