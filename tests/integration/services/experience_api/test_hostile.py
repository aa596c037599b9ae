"""Hostile requests: none may stop the service or affect connected subscribers."""

import asyncio
import re
import sys
from contextlib import AsyncExitStack, suppress
from statistics import median
from time import monotonic
from typing import Any
from uuid import UUID

import pytest

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.clients import Client, Ending
from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.registry.protocol import Claim, Held
from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment, Replica

UPGRADE = (
    b"GET /ws/publish HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def raw(replica: Replica, request: bytes) -> bytes:
    """Send bytes, and return the response, up to the first one or until the server closes."""
    host, _, port = replica.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        async with asyncio.timeout(TIMEOUT):
            return await reader.read(65_536)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "lines",
    [
        b"Authorization: Bearer " + b"x" * 100_000 + b"\r\n",
        b"Authorization: Bearer a\0b\r\n",
        b"Authorization: Bearer a\r\n\tb\r\n",
        b"Authorization: Bearer \xff\xfe\r\n",
        b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n",
        b"Authorization Bearer a\r\n",
        b": empty\r\n",
        b"token: a\r\nclient_id: \0\r\n",
        b"client_id: demo\r\nclient_id: other\r\ntoken: x\r\n",
        b"Sec-WebSocket-Protocol: " + b"bearer.x," * 5000 + b"\r\n",
        b"Sec-WebSocket-Protocol: cloudevents.json, bearer.\x80\r\n",
        b"".join(b"X-%d: y\r\n" % number for number in range(20_000)),
        b"X-Forwarded-For: " + b"1.1.1.1," * 900 + b"\r\n",
    ],
    ids=range(13),
)
async def test_hostile_headers_are_refused_and_the_service_keeps_running(replica: Replica, lines: bytes) -> None:
    response = await raw(replica, UPGRADE + lines + b"\r\n")
    assert re.match(rb"HTTP/1\.[01] 4", response), response[:200]  # 1.0: by aiohttp's parser
    assert b"Traceback" not in response
    async with replica.connect(await replica.register()) as subscription:
        await subscription.next()


@pytest.mark.parametrize(
    "target", [b"/ws/publish?cursor=%00%0d%0a", b"/ws/publish?channels=" + b"a," * 3000, b"/ws/publish?\xff=\xfe"]
)
async def test_hostile_targets_are_refused(replica: Replica, target: bytes) -> None:
    token = (await replica.register()).encode()
    request = UPGRADE.replace(b"/ws/publish", target, 1) + b"Authorization: Bearer " + token + b"\r\n\r\n"
    response = await raw(replica, request)
    assert re.match(rb"HTTP/1\.[01] (4|101)", response), response[:200]
    assert b"\r\n\r\n\r\n" not in response.partition(b"\r\n\r\n")[0]


async def test_a_token_among_subprotocols_is_in_no_log(replica: Replica, caplog: pytest.LogCaptureFixture) -> None:
    """Of two header lines, aiohttp would see the first one only, and log its content."""
    token = (await replica.register()).encode()
    lines = b"Sec-WebSocket-Protocol: bearer." + token + b"\r\nSec-WebSocket-Protocol: cloudevents.json\r\n\r\n"
    with caplog.at_level(0):
        response = await raw(replica, UPGRADE + lines)
    assert re.match(rb"HTTP/1\.1 (400|101)", response), response[:200]
    assert token.decode() not in caplog.text


async def test_a_body_that_does_not_arrive_is_refused_after_a_timeout(deployment: Deployment) -> None:
    request = (
        b"POST /entity?channel=a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 9\r\n\r\n{"
    )
    async with deployment.replica({"entity": {"allow": ["127.0.0.0/8"], "body_timeout": 0.1}}) as replica:
        assert (await raw(replica, request)).startswith(b"HTTP/1.1 408")


async def test_a_body_that_arrives_slowly_is_accepted(deployment: Deployment) -> None:
    """It takes three times its timeout, and never as long for any part of it."""
    head = (
        b"POST /entity?channel=a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 30\r\n\r\n"
    )
    async with deployment.replica({"entity": {"allow": ["127.0.0.0/8"], "body_timeout": 1}}) as replica:
        host, _, port = replica.url.removeprefix("http://").rpartition(":")
        answer = b""
        while not answer.startswith(b"HTTP/1.1 202"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(head)
            longest = 0.0
            for part in (b'["', *[b"x"] * 26, b'"]'):
                began = monotonic()
                await asyncio.sleep(0.12)
                writer.write(part)
                longest = max(longest, monotonic() - began)
            answer = await asyncio.wait_for(reader.readline(), TIMEOUT)
            writer.close()
            # If the machine stood still for as long as the timeout, the body was too slow: again.
            assert answer.startswith(b"HTTP/1.1 202") or longest > 0.5, answer


class CountingRegistry(PostgresRegistry):
    """Counts the queries of requests."""

    queries = 0

    async def claim(self, *arguments: Any, **keywords: Any) -> Claim | Held:
        self.queries += 1
        return await super().claim(*arguments, **keywords)

    async def find(self, client_id: str) -> Client | None:
        self.queries += 1
        return await super().find(client_id)

    async def release(self, client_id: str, connection_id: UUID, ending: Ending | None = None) -> None:
        self.queries += 1
        await super().release(client_id, connection_id, ending)


async def ended(process: asyncio.subprocess.Process) -> None:
    """End a process that a failed test leaves."""
    if process.returncode is None:
        process.kill()
        await process.wait()


async def test_a_flood_of_invalid_tokens_does_not_affect_the_database_or_subscribers(deployment: Deployment) -> None:
    """The flood, the subscriber and those that connect meanwhile all have one address."""
    options: dict[str, Any] = {"handshakes": {"failures": 50, "failures_per_second": 5}}
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(CountingRegistry.opened(deployment.database))
        replica = await stack.enter_async_context(deployment.replica(options, registry=registry))
        subscription = await stack.enter_async_context(replica.connect(await replica.register()))
        await subscription.next()
        secret = await add_client(registry, "shop")
        token = await replica.register("shop", secret)
        before = registry.queries
        program = [sys.executable, "-m", "tests.integration.services.experience_api.flood", replica.url, "1000"]
        flood = await asyncio.create_subprocess_exec(
            *program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        stack.push_async_callback(ended, flood)
        assert flood.stdout is not None
        assert await flood.stdout.readline() == b"started\n"
        delays: list[float] = []
        handshakes: list[float] = []
        while len(delays) < 50:
            began = monotonic()
            await replica.push("orders", len(delays))
            assert (await subscription.next())["data"] == {"number": len(delays)}
            delays.append(monotonic() - began)
            if len(delays) % 10 == 0:
                began = monotonic()
                async with replica.connect(token) as other:
                    assert (await other.next())["type"] == "trelay.connected"
                handshakes.append(monotonic() - began)
                await deployment.until_connections(1)
            await asyncio.sleep(0.02)
        output, _ = await flood.communicate(b"")  # ends its standard input
        responses = dict(pair.split(b"=") for pair in output.split())
        print(responses, f"push to frame: median {median(delays):.4f} s, worst {max(delays):.4f} s")
        print(f"handshakes: median {median(handshakes):.4f} s, worst {max(handshakes):.4f} s")
        assert registry.queries == before + 2 * len(handshakes)  # a claim and a release each, and none for the flood
        assert set(responses) <= {b"401", b"429"}
        assert int(responses[b"429"]) > int(responses[b"401"])


async def test_an_address_that_fails_excludes_no_client_behind_it(deployment: Deployment) -> None:
    """Stale tokens and wrong secrets come from the address of those that are right, without a pause."""
    options = {name: {"failures": 3, "failures_per_second": 0.01} for name in ("handshakes", "registrations")}
    async with deployment.replica(options) as replica:
        secret = await add_client(replica.registry, "shop")
        stale, old = await replica.register(), {"client_id": "shop", "client_secret": "an old one"}
        await replica.register()
        failed: list[int] = []
        for _ in range(10):
            failed = [(await replica.upgrade("stale")).status, (await replica.upgrade(stale)).status]
            failed += [(await replica.request("POST", "/consumers", old)).status for _ in range(2)]
            assert set(failed) <= {401, 429}
            async with replica.connect(await replica.register("shop", secret)) as subscription:
                assert (await subscription.next())["type"] == "trelay.connected"
        assert failed == [429] * 4


@pytest.mark.parametrize("sent", [b"", b"GET /ws/publish HT", UPGRADE], ids=["silent", "line", "headers"])
async def test_idle_connections_block_no_other_and_are_closed(deployment: Deployment, sent: bytes) -> None:
    """Even from the same address: a request is served while 200 connections are idle, and all of those are closed."""
    options = {"listen": {"port": 0, "limits": {"header_timeout": 3, "max_idle_per_address": 50}}}
    async with deployment.replica(options) as replica, AsyncExitStack() as stack:
        host, _, port = replica.url.removeprefix("http://").rpartition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(200)]
        for _, writer in silent:
            stack.callback(writer.close)
            writer.write(sent)
        async with replica.connect(await replica.register()) as subscription:
            assert (await subscription.next())["type"] == "trelay.connected"
            for reader, _ in silent:
                async with asyncio.timeout(TIMEOUT):
                    with suppress(ConnectionResetError):
                        assert await reader.read() == b""
            await replica.push("orders", 1)
            assert (await subscription.next())["data"] == {"number": 1}


class BlockingRegistry(PostgresRegistry):
    """Blocks claims while `proceed` is not set."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.claiming, self.proceed, self.released = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def claim(self, *arguments: Any, **keywords: Any) -> Claim | Held:
        self.claiming.set()
        await self.proceed.wait()
        return await super().claim(*arguments, **keywords)

    async def release(self, client_id: str, connection_id: UUID, ending: Ending | None = None) -> None:
        await super().release(client_id, connection_id, ending)
        self.released.set()


async def test_a_peer_that_disconnects_before_the_upgrade_leaves_no_claim_and_no_error_in_the_log(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        BlockingRegistry.opened(deployment.database) as registry,
        deployment.replica(registry=registry) as replica,
    ):
        token = (await replica.register()).encode()
        host, _, port = replica.url.removeprefix("http://").rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(UPGRADE + b"Authorization: Bearer " + token + b"\r\n\r\n")
        await registry.claiming.wait()
        writer.transport.abort()
        assert (await replica.request("GET", "/healthz")).status == 200  # by now the replica has detected the loss
        registry.proceed.set()
        await registry.released.wait()
        await deployment.until_no_connection()
        async with replica.connect(token.decode()) as subscription:
            await subscription.next()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
