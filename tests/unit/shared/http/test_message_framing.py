"""Requests whose boundaries two servers could read differently, methods that nothing serves, and headers of all."""

import asyncio

import pytest
from aiohttp import web

from shared.http.server import Health, ListenOptions, application, serve

ANY_PORT = ListenOptions(port=0)
SECOND = "GET /second HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
"""A request inside of another one: served, it was smuggled past whatever stands in front."""


async def exchanged(request: str, *, taken: list[str]) -> bytes:
    """Send bytes to a server that notes what it serves; return what it answers until it closes."""

    async def take(served: web.Request) -> web.Response:
        await served.read()
        taken.append(served.path)
        return web.Response(text="taken")

    health = Health("test")
    app = application(ANY_PORT, health)
    app.router.add_post("/first", take)
    app.router.add_get("/second", take)
    async with serve(app, ANY_PORT, health) as at:
        host, _, port = at.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request.encode("latin-1"))
        async with asyncio.timeout(60):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    "head",
    [
        f"Content-Length: {len(SECOND)}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"Transfer-Encoding: chunked\r\nContent-Length: {len(SECOND)}\r\n\r\n0\r\n\r\n",
        f"Content-Length: 0\r\nContent-Length: {len(SECOND)}\r\n\r\n",
        "Content-Length: +0\r\n\r\n",
        "Content-Length: 0, 0\r\n\r\n",
        "Transfer-Encoding: identity, chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
        "X: a\r\n Content-Length: 0\r\n\r\n",
        "X\x00: a\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=lambda head: head.split("\r\n\r\n", maxsplit=1)[0].replace("\r\n", " | ").replace("\x00", "NUL"),
)
async def test_a_request_without_one_boundary_is_refused_and_nothing_behind_it_is_served(head: str) -> None:
    taken: list[str] = []
    answer = await exchanged(f"POST /first HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}{SECOND}", taken=taken)
    assert b" 400 " in answer.split(b"\r\n", 1)[0]
    assert "/second" not in taken


async def test_what_is_clear_is_served() -> None:
    taken: list[str] = []
    answer = await exchanged(
        f"POST /first HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx{SECOND}", taken=taken
    )
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert taken == ["/first", "/second"]


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT", "PUT", "DEBUG"])
async def test_a_method_that_nothing_serves_is_refused_and_repeats_no_header(method: str) -> None:
    answer = await exchanged(
        f"{method} /second HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX: s3cret\r\n\r\n", taken=[]
    )
    assert answer.split(b" ")[1] in {b"400", b"404", b"405"}
    assert b"s3cret" not in answer


@pytest.mark.parametrize("request_line", ["GET /second", "GET /absent", "POST /second", "nonsense"])
async def test_every_response_forbids_browsers_to_guess_its_type(request_line: str) -> None:
    answer = await exchanged(f"{request_line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", taken=[])
    head = answer.split(b"\r\n\r\n", 1)[0].decode().lower()
    assert "\r\nx-content-type-options: nosniff" in head
    assert "\r\ncontent-type: " in head
