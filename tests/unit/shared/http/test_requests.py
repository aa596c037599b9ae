"""Bodies of requests, as the handlers of a service read them."""

import asyncio
import gzip
import json
import zlib
from typing import Any

import pytest
from aiohttp import web

from shared.http.server import Health, ListenOptions, application, serve

LISTEN = ListenOptions(port=0, body_limit=1024)
BODY = b'{"number": 1}' * 20
PACKED = gzip.compress(BODY)


async def answer(*headers: str, body: bytes, chunked: bool = False) -> tuple[bytes, dict[str, Any]]:
    """Send a request; return the head of the response, and its body."""

    async def take(served: web.Request) -> web.Response:
        text = (await served.read()).decode()
        assert text == (await served.read()).decode(), "reading again gives the same"
        return web.json_response({"text": text})

    health = Health("test")
    app = application(LISTEN, health)
    app.router.add_post("/", take)
    async with serve(app, LISTEN, health) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(at.url.rpartition(":")[2]))
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
        length = [] if chunked else [f"Content-Length: {len(body)}"]
        lines = ["POST / HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers, *length, "", ""]
        try:
            writer.write("\r\n".join(lines).encode() + framed)
            async with asyncio.timeout(60):
                head, _, content = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
            await writer.wait_closed()
    return head, json.loads(content)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ((), BODY),
        (("Content-Encoding: gzip",), PACKED),
        (("Content-Encoding: x-gzip",), PACKED),
        (("Content-Encoding: gzip", "Content-Encoding: identity"), PACKED),
        (("Content-Encoding: gzip",), gzip.compress(BODY[:100]) + gzip.compress(BODY[100:])),
        (("Content-Encoding: deflate",), zlib.compress(BODY)),
        (("Content-Encoding: deflate",), zlib.compress(BODY)[2:-4]),
    ],
)
async def test_a_body_is_decompressed(headers: tuple[str, ...], body: bytes) -> None:
    head, found = await answer(*headers, body=body)
    assert b" 200 " in head.splitlines()[0]
    assert found == {"text": BODY.decode()}


async def test_the_compression_of_a_transfer_counts_as_well() -> None:
    _, found = await answer("Transfer-Encoding: gzip, chunked", body=PACKED, chunked=True)
    assert found == {"text": BODY.decode()}


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", PACKED[:-1]),
        ("gzip", PACKED[:15]),
        ("gzip", PACKED + b"more"),
        ("deflate", zlib.compress(BODY)[:-1]),
        ("gzip", BODY),
    ],
)
async def test_a_body_that_is_not_whole_is_refused(encoding: str, body: bytes) -> None:
    head, found = await answer(f"Content-Encoding: {encoding}", body=body)
    assert b" 400 " in head.splitlines()[0]
    assert (found["code"], "compress" in found["detail"]) == ("malformed", True)


@pytest.mark.parametrize("encodings", [["br"], ["zstd"], ["foo"], ["gzip", "gzip"], ["gzip, deflate"], ["br", "gzip"]])
async def test_another_encoding_is_refused(encodings: list[str]) -> None:
    head, found = await answer(*(f"Content-Encoding: {each}" for each in encodings), body=gzip.compress(PACKED))
    assert b" 415 " in head.splitlines()[0]
    assert b"\r\nAccept-Encoding: gzip, deflate" in head
    assert found["code"] == "unsupported-type"


@pytest.mark.parametrize("body", [b"x" * 1025, gzip.compress(b"x" * 1025)])
async def test_a_body_above_the_limit_is_refused(body: bytes) -> None:
    headers = () if body.startswith(b"x") else ("Content-Encoding: gzip",)
    head, found = await answer(*headers, body=body)
    assert b" 413 " in head.splitlines()[0]
    assert found["code"] == "too-large"
