"""What strangers send: nothing of it may bring the service down, or be noticed by those who are connected."""

import asyncio
import re
import sys
from contextlib import AsyncExitStack, suppress
from statistics import median
from time import monotonic
from typing import Any
from uuid import UUID

import pytest

from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.registry.protocol import Claim, Client, Held, Wish
from shared.database.engine import create_engine
from tests.integration.services.experience_api.replicas import PATIENCE, Deployment, Replica

UPGRADE = (
    b"GET /ws/publish HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def raw(replica: Replica, request: bytes) -> bytes:
    """Send bytes, and return what comes back until the other side closes or has answered."""
    host, _, port = replica.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        async with asyncio.timeout(PATIENCE):
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
async def test_hostile_headers_are_refused_and_the_service_goes_on(replica: Replica, lines: bytes) -> None:
    answer = await raw(replica, UPGRADE + lines + b"\r\n")
    assert re.match(rb"HTTP/1\.[01] 4", answer), answer[:200]  # 1.0: by aiohttp's parser, before anybody asks it
    assert b"Traceback" not in answer
    async with replica.connect(await replica.register()) as subscription:
        await subscription.next()


@pytest.mark.parametrize(
    "target", [b"/ws/publish?cursor=%00%0d%0a", b"/ws/publish?channels=" + b"a," * 3000, b"/ws/publish?\xff=\xfe"]
)
async def test_hostile_targets_are_refused(replica: Replica, target: bytes) -> None:
    token = (await replica.register()).encode()
    request = UPGRADE.replace(b"/ws/publish", target, 1) + b"Authorization: Bearer " + token + b"\r\n\r\n"
    answer = await raw(replica, request)
    assert re.match(rb"HTTP/1\.[01] (4|101)", answer), answer[:200]
    assert b"\r\n\r\n\r\n" not in answer.partition(b"\r\n\r\n")[0]


async def test_a_token_among_subprotocols_is_in_no_log(replica: Replica, caplog: pytest.LogCaptureFixture) -> None:
    """Said on two lines, aiohttp would see the first one only, and log what it holds."""
    token = (await replica.register()).encode()
    lines = b"Sec-WebSocket-Protocol: bearer." + token + b"\r\nSec-WebSocket-Protocol: cloudevents.json\r\n\r\n"
    with caplog.at_level(0):
        answer = await raw(replica, UPGRADE + lines)
    assert re.match(rb"HTTP/1\.1 (400|101)", answer), answer[:200]
    assert token.decode() not in caplog.text


async def test_a_body_that_does_not_arrive_is_not_waited_for(deployment: Deployment) -> None:
    request = (
        b"POST /entity?channel=a HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    async with deployment.replica({"entity": {"allow": ["127.0.0.0/8"], "arrives_within": 0.1}}) as replica:
        assert (await raw(replica, request)).startswith(b"HTTP/1.1 408")


class CountingRegistry(PostgresRegistry):
    """Counts the questions of requests to the database."""

    questions = 0

    async def claim(self, wish: Wish, instead_of: UUID | None = None) -> Claim | Held:
        self.questions += 1
        return await super().claim(wish, instead_of)

    async def find(self, client_id: str) -> Client | None:
        self.questions += 1
        return await super().find(client_id)

    async def release(self, client_id: str, connection_id: UUID) -> None:
        self.questions += 1
        await super().release(client_id, connection_id)


async def test_a_flood_of_bogus_tokens_reaches_neither_the_database_nor_the_connected(deployment: Deployment) -> None:
    engine = create_engine(deployment.database)
    registry = CountingRegistry(engine, deployment.database)
    options: dict[str, Any] = {"handshakes": {"failures": 50, "failures_per_second": 5}}
    async with AsyncExitStack() as stack:
        replica = await stack.enter_async_context(deployment.replica(options, registry=registry))
        subscription = await stack.enter_async_context(replica.connect(await replica.register()))
        await subscription.next()
        before = registry.questions
        program = [sys.executable, "-m", "tests.integration.services.experience_api.flood", replica.url, "3"]
        flood = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
        assert flood.stdout is not None
        assert await flood.stdout.readline() == b"begun\n"
        delays: list[float] = []
        while flood.returncode is None and len(delays) < 100:
            began = monotonic()
            await replica.push("orders", len(delays))
            assert (await subscription.next())["data"] == {"number": len(delays)}
            delays.append(monotonic() - began)
            await asyncio.sleep(0.02)
        output, _ = await flood.communicate()
        answers = dict(pair.split(b"=") for pair in output.split())
        print(answers, f"push to frame: median {median(delays):.4f} s, worst {max(delays):.4f} s")
        assert registry.questions == before
        assert set(answers) <= {b"401", b"429"}
        assert int(answers[b"429"]) > int(answers[b"401"])
        assert len(delays) >= 10
    await engine.dispose()


@pytest.mark.parametrize("begun", [b"", b"GET /ws/publish HT", UPGRADE], ids=["silent", "line", "headers"])
async def test_connections_that_want_nothing_keep_nobody_out_and_are_closed(
    deployment: Deployment, begun: bytes
) -> None:
    """From the same address, even: who speaks is served while 200 stand about, and all of those are sent away."""
    options = {"listen": {"port": 0, "reception": {"headers_within": 3, "waiting_per_address": 50}}}
    async with deployment.replica(options) as replica, AsyncExitStack() as stack:
        host, _, port = replica.url.removeprefix("http://").rpartition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(200)]
        for _, writer in silent:
            stack.callback(writer.close)
            writer.write(begun)
        async with replica.connect(await replica.register()) as subscription:
            assert (await subscription.next())["type"] == "trelay.connected"
            for reader, _ in silent:
                async with asyncio.timeout(PATIENCE):
                    with suppress(ConnectionResetError):
                        assert await reader.read() == b""
            await replica.push("orders", 1)
            assert (await subscription.next())["data"] == {"number": 1}


class PatientRegistry(PostgresRegistry):
    """Answers claims when the test says so."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.asked, self.go_on, self.released = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def claim(self, wish: Wish, instead_of: UUID | None = None) -> Claim | Held:
        self.asked.set()
        await self.go_on.wait()
        return await super().claim(wish, instead_of)

    async def release(self, client_id: str, connection_id: UUID) -> None:
        await super().release(client_id, connection_id)
        self.released.set()


async def test_who_is_gone_before_the_upgrade_leaves_no_claim_and_no_error_in_the_log(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    engine = create_engine(deployment.database)
    registry = PatientRegistry(engine, deployment.database)
    async with deployment.replica(registry=registry) as replica:
        token = (await replica.register()).encode()
        host, _, port = replica.url.removeprefix("http://").rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(UPGRADE + b"Authorization: Bearer " + token + b"\r\n\r\n")
        await registry.asked.wait()
        writer.transport.abort()
        assert (await replica.ask("GET", "/healthz")).status == 200  # by now the replica has heard of it
        registry.go_on.set()
        await registry.released.wait()
        await deployment.until_nobody_is_connected()
        async with replica.connect(token.decode()) as subscription:
            await subscription.next()
    await engine.dispose()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
