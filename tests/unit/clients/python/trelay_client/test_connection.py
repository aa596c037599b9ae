import asyncio
import json
import random
import re
import socket
import ssl
from contextlib import aclosing, suppress

import trustme
from aiohttp import web

from tests.unit.clients.python.trelay_client.fake_server import (
    CREDENTIALS,
    FakeServer,
    connected,
    event,
    ids,
    session,
)
from trelay_client import subscribe
from trelay_client.connection import describe


async def test_a_connection_error_is_described() -> None:
    async with FakeServer().up() as server:
        await _first_retry(server, server.url.replace("http", "https"))
        assert re.search(
            "TLS handshake failed: (record layer failure|wrong version number); retrying in ", server.retries[0]
        )
    newer = ssl.SSLError(1, "[SSL] record layer failure (_ssl.c:1028)")
    assert describe(newer) == "TLS handshake failed: record layer failure"
    assert describe(socket.gaierror(socket.EAI_NONAME, "Name or service not known")) == "Name or service not known"


async def test_an_untrusted_certificate_is_described() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        server = FakeServer()
        await _first_retry(server, f"https://127.0.0.1:{runner.addresses[0][1]}")
        assert "certificate not trusted: unable to get local issuer certificate" in server.retries[0]
    finally:
        await runner.cleanup()


async def _first_retry(server: FakeServer, url: str) -> None:
    retried = asyncio.Event()

    def on_retry(text: str) -> None:
        server.retries.append(text)
        retried.set()

    stream = subscribe(url, CREDENTIALS, clock=server.clock, rng=random.Random(1), on_retry=on_retry)
    task = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(60):
        await retried.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await stream.aclose()


async def test_silence_beyond_the_heartbeat_is_a_loss() -> None:
    async with FakeServer(
        session(connected(heartbeat=0.2), event(1), stay=True), session(connected(), event(2), stay=True)
    ).up() as server:
        assert ids(await server.take(2)) == ["1", "2"]
        assert server.retries[0].startswith("received nothing for 0.5 s")


async def test_pings_count_as_received() -> None:
    async def pinging(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps(connected(heartbeat=0.8)))
        for _ in range(10):  # for longer than the 2 s of its timeout
            await asyncio.sleep(0.25)
            await socket.ping()
        await socket.send_str(json.dumps(event(1)))
        await socket.receive()
        return socket

    async with FakeServer(pinging).up() as server:
        assert ids(await server.take(1)) == ["1"]
        assert server.retries == []


async def test_parts_of_a_frame_count_as_received() -> None:
    async def dripping(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps(connected(heartbeat=0.2)))
        text = json.dumps({**event(1), "data": "x" * 300}).encode()
        assert request.transport is not None
        request.transport.write(b"\x81\x7e" + len(text).to_bytes(2, "big"))
        for start in range(0, len(text), 20):  # for longer than the 0.5 s of its timeout
            await asyncio.sleep(0.1)
            request.transport.write(text[start : start + 20])
        await socket.receive()
        return socket

    async with FakeServer(dripping).up() as server:
        assert ids(await server.take(1)) == ["1"]
        assert server.retries == []


async def test_heartbeats_are_answered_and_not_yielded() -> None:
    answers: list[str] = []

    async def asking(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps(connected()))
        await socket.send_str(json.dumps({"source": "/trelay", "type": "trelay.heartbeat", "id": "h"}))
        answers.append(await socket.receive_str())
        await socket.send_str(json.dumps(event(1)))
        await socket.receive()
        return socket

    async with FakeServer(asking).up() as server, asyncio.timeout(60):
        async with aclosing(subscribe(server.url, CREDENTIALS, answer_heartbeats=True)) as frames:
            assert [(await anext(frames)).event["id"] for _ in range(2)] == ["c", "1"]
        assert server.requests[0]["heartbeat"] == "answer"
        assert answers == ['{"type":"trelay.heartbeat"}']
