"""Connections that say nothing, or not enough, on real sockets and in a time of their own."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trustme
import uvloop
from aiohttp import ClientSession, TCPConnector, web

from shared.http.limits import ReceptionOptions
from shared.http.server import Health, ListenOptions, application, serve
from shared.http.tls import TlsOptions
from shared.runtime.clock import SystemClock
from tests.unit.shared.http.test_tls import issue

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
PATIENCE = 10.0
OPTIONS = ReceptionOptions(headers_within=10, idle_within=75, waiting=6, waiting_per_address=3)
LARGE = 30_000_000
HEADERS = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


class Hasty(SystemClock):
    """Lets the reception look around all the time; the test says how late it is."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.looks = 0

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.001)
        self.looks += 1


class Listener:
    """A service that answers `/healthz`, in plain or by TLS."""

    def __init__(self, folder: Path, *, secure: bool, options: ReceptionOptions = OPTIONS) -> None:
        self.clock = Hasty()
        self._authority = trustme.CA()
        pair = issue(self._authority, folder, "127.0.0.1")
        tls = TlsOptions(certificate=pair.certificate, key=pair.key) if secure else None
        self._listen = ListenOptions(port=0, tls=tls, reception=options)
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
        """Connect, and say nothing; `tls` only where it is spoken here."""
        port = int(self.url.rpartition(":")[2])
        return await asyncio.open_connection("127.0.0.1", port, ssl=self.trust if tls else None)

    async def is_well(self) -> bool:
        """Whether somebody else is served."""
        connector = TCPConnector(ssl=self.trust or True)
        async with ClientSession(connector=connector) as client, client.get(f"{self.url}/healthz") as response:
            return response.status == 200


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what still comes, once the other side has closed."""
    async with asyncio.timeout(PATIENCE):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


@pytest.fixture(params=["plain", "tls"])
async def listener(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Listener]:
    async with Listener(tmp_path, secure=request.param == "tls").up() as listener:
        yield listener


async def test_the_silent_are_closed_after_their_time(listener: Listener) -> None:
    reader, writer = await listener.open()
    with closing(writer):
        assert await listener.is_well()
        listener.clock.seconds = 10.0
        assert await ended(reader) == b""


async def test_headers_that_do_not_end_are_closed_after_their_time(listener: Listener) -> None:
    reader, writer = await listener.open()
    with closing(writer):
        for byte in HEADERS[:-1]:
            writer.write(bytes((byte,)))
            await writer.drain()
        assert await listener.is_well()
        listener.clock.seconds = 10.0
        assert await ended(reader) == b""


async def test_a_handshake_of_tls_that_does_not_come_is_closed_after_its_time(tmp_path: Path) -> None:
    """By the loop's own clock, which nobody can move."""
    options = OPTIONS.model_copy(update={"headers_within": 0.2})
    async with Listener(tmp_path, secure=True, options=options).up() as listener:
        reader, writer = await listener.open(tls=False)
        with closing(writer):
            assert await ended(reader) == b""


async def test_what_is_no_tls_is_closed_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Listener(tmp_path, secure=True).up() as listener:
        reader, writer = await listener.open(tls=False)
        with closing(writer):
            writer.write(HEADERS)
            await ended(reader)
        assert await listener.is_well()
    assert not caplog.records


async def test_idle_connections_have_longer_and_requests_under_way_all_the_time_they_need(listener: Listener) -> None:
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


async def test_an_answer_that_nobody_reads_is_kept_for_nobody(listener: Listener) -> None:
    reader, writer = await listener.open()
    with closing(writer):
        writer.write(HEADERS.replace(b"healthz", b"large"))
        await reader.readuntil(b"\r\n\r\n")
        assert await listener.is_well()
        listener.clock.seconds = 75.0
        looks = listener.clock.looks
        while listener.clock.looks < looks + 2:
            assert await listener.is_well()
        assert len(await ended(reader)) < LARGE


async def test_beyond_the_bound_the_silent_make_room_for_each_other_and_for_whoever_speaks(listener: Listener) -> None:
    opened = []
    for number in range(10):
        opened.append(await listener.open())
        listener.clock.seconds = number * 0.9
        assert await listener.is_well()
    for reader, _ in opened[:6]:
        assert await ended(reader) == b""
    for _, writer in opened:
        writer.close()


async def test_a_connection_lost_while_it_waits_is_forgotten(listener: Listener) -> None:
    for _ in range(20):
        _, writer = await listener.open()
        writer.transport.abort()
    assert await listener.is_well()
