"""Connections that send no complete request, on real sockets and by a clock that the test moves."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trustme
import uvloop
from aiohttp import ClientSession, TCPConnector, web

from shared.http.accepting.limits import ConnectionLimitOptions
from shared.http.server import Health, ListenOptions, application, serve
from shared.http.tls import TlsOptions
from shared.runtime.clock import SystemClock
from tests.unit.shared.http.test_tls import issue

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
TIMEOUT = 60.0
OPTIONS = ConnectionLimitOptions(header_timeout=10, keepalive_timeout=75, max_idle=6, max_idle_per_address=3)
LARGE = 30_000_000
HEADERS = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class MovedClock(SystemClock):
    """Lets the limiter check all the time; the test decides what time it is."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.checks = 0

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.001)
        self.checks += 1


class Listener:
    """A service that answers `/healthz`, in plain or by TLS."""

    def __init__(self, folder: Path, *, secure: bool, options: ConnectionLimitOptions = OPTIONS) -> None:
        self.clock = MovedClock()
        self._authority = trustme.CA()
        pair = issue(self._authority, folder, "127.0.0.1")
        tls = TlsOptions(cert_file=pair.cert_file, key_file=pair.key_file) if secure else None
        self._listen = ListenOptions(port=0, tls=tls, limits=options)
        self.trust: ssl.SSLContext | None = None
        if secure:
            self.trust = ssl.create_default_context()
            self._authority.configure_trust(self.trust)
        self.url = ""

    @asynccontextmanager
    async def up(self) -> AsyncIterator["Listener"]:
        health = Health("test")
        app = application(self._listen, health)
        self.go_on = asyncio.Event()

        async def slow(_request: web.Request) -> web.Response:
            await self.go_on.wait()
            return web.Response(text="done")

        async def large(_request: web.Request) -> web.Response:
            return web.Response(body=bytes(LARGE))

        app.router.add_get("/slow", slow)
        app.router.add_get("/large", large)
        async with serve(app, self._listen, health, clock=self.clock) as at:
            self.url = at.url
            yield self

    async def open(self, *, tls: bool = True) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect and send nothing; `tls` applies where the listener uses it."""
        port = int(self.url.rpartition(":")[2])
        return await asyncio.open_connection("127.0.0.1", port, ssl=self.trust if tls else None)

    async def is_well(self) -> bool:
        """Return whether another client is served."""
        connector = TCPConnector(ssl=self.trust or True)
        async with ClientSession(connector=connector) as client, client.get(f"{self.url}/healthz") as response:
            return response.status == 200


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Wait until the server closes the connection, and return what it sent before."""
    async with asyncio.timeout(TIMEOUT):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


@pytest.fixture(params=["plain", "tls"])
async def listener(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Listener]:
    async with Listener(tmp_path, secure=request.param == "tls").up() as listener:
        yield listener


async def test_a_silent_connection_is_closed_after_the_header_timeout(listener: Listener) -> None:
    reader, writer = await listener.open()
    with closing(writer):
        assert await listener.is_well()
        listener.clock.seconds = 10.0
        assert await ended(reader) == b""


async def test_incomplete_headers_are_closed_after_the_header_timeout(listener: Listener) -> None:
    reader, writer = await listener.open()
    with closing(writer):
        for byte in HEADERS[:-1]:
            writer.write(bytes((byte,)))
            await writer.drain()
        assert await listener.is_well()
        listener.clock.seconds = 10.0
        assert await ended(reader) == b""


async def test_a_tls_handshake_that_does_not_begin_is_closed_after_the_header_timeout(tmp_path: Path) -> None:
    """By the loop's own clock, which a test cannot move."""
    options = OPTIONS.model_copy(update={"header_timeout": 0.2})
    async with Listener(tmp_path, secure=True, options=options).up() as listener:
        reader, writer = await listener.open(tls=False)
        with closing(writer):
            assert await ended(reader) == b""


async def test_a_client_without_tls_is_closed_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Listener(tmp_path, secure=True).up() as listener:
        reader, writer = await listener.open(tls=False)
        with closing(writer):
            writer.write(HEADERS)
            await ended(reader)
        assert await listener.is_well()
    assert not caplog.records


async def test_keepalive_has_its_own_timeout_and_a_request_in_progress_none(listener: Listener) -> None:
    reader, writer = await listener.open()
    with closing(writer):
        for second in (0.0, 70.0, 140.0):
            listener.clock.seconds = second
            writer.write(HEADERS)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"}")
        writer.write(HEADERS.replace(b"healthz", b"slow"))
        assert await listener.is_well()
        listener.clock.seconds = 10_000.0
        assert await listener.is_well()
        listener.go_on.set()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await reader.readexactly(len("done"))
        listener.clock.seconds += 75.0
        assert await ended(reader) == b""


async def test_an_unread_response_is_dropped_after_the_keepalive_timeout(
    listener: Listener,
) -> None:
    reader, writer = await listener.open()
    with closing(writer):
        writer.write(HEADERS.replace(b"healthz", b"large"))
        await reader.readuntil(b"\r\n\r\n")
        assert await listener.is_well()
        listener.clock.seconds = 75.0
        checks = listener.clock.checks
        while listener.clock.checks < checks + 2:
            assert await listener.is_well()
        assert len(await ended(reader)) < LARGE


async def test_above_the_limit_the_oldest_silent_connections_are_closed(
    listener: Listener,
) -> None:
    opened = []
    for number in range(10):
        opened.append(await listener.open())
        listener.clock.seconds = number * 0.9
        assert await listener.is_well()
    for reader, _ in opened[:6]:
        assert await ended(reader) == b""
    for _, writer in opened:
        writer.close()


async def test_a_connection_lost_while_it_is_idle_is_removed(listener: Listener) -> None:
    for _ in range(20):
        _, writer = await listener.open()
        writer.transport.abort()
    assert await listener.is_well()
