"""The client against a real server: what a status and a body lead to."""

import asyncio
import contextlib
import gzip

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port
from yarl import URL

from shared.errors import TrelayError, Unauthorized, Unavailable
from shared.http.client.failures import RateLimited, UnusableResponse
from tests.integration.shared.http.client.http_client import client, fails
from tests.servers.http_api import HttpApi


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (400, UnusableResponse, "400 Bad Request: 'no such filter'"),
        (404, UnusableResponse, "404 Not Found: 'no such filter'"),
        (300, UnusableResponse, "300 Multiple Choices"),
        (304, UnusableResponse, "304 Not Modified"),  # without having been asked for it
        (401, Unauthorized, "401 Unauthorized: 'no such filter'; check `auth`"),
        (403, Unauthorized, "403 Forbidden: 'no such filter'; check `auth`"),
        (408, Unavailable, "408 Request Timeout"),
        (425, Unavailable, "425 Too Early"),
        (429, RateLimited, "429 Too Many Requests"),
        (500, Unavailable, "500 Internal Server Error: 'no such filter'"),
        (502, Unavailable, "502 Bad Gateway"),
        (503, Unavailable, "503 Service Unavailable"),
        (599, Unavailable, "599 (unknown status)"),
    ],
)
async def test_a_status_names_the_url_and_the_beginning_of_the_body(
    api: HttpApi, status: int, error: type[TrelayError], text: str
) -> None:
    body = None if status == 304 else b"no such\n filter"
    api.answer("/orders", (status, {}, body))
    found = await fails(api, error, "/orders?since=1")
    assert found.startswith(f"GET {api.url('/orders?since=1')}: ")
    assert text in found


async def test_a_long_error_is_cut_and_its_secrets_are_hidden(api: HttpApi) -> None:
    api.answer("/", (500, {}, b'{"password":"hunter2"} \x1b[31m' + b"x" * 100_000))
    found = await fails(api, Unavailable)
    assert "hunter2" not in found
    assert "\x1b" not in found
    assert len(found) < 400


async def test_an_api_that_does_not_answer_is_unavailable(api: HttpApi) -> None:
    async def silent(_request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    api.answer("/", silent)
    assert "no answer within 0.2 s" in await fails(api, Unavailable, timeout=0.2)


async def test_a_slow_body_is_bounded_in_time(api: HttpApi) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b" ")
                await asyncio.sleep(0.02)
        return response

    api.answer("/", slow)
    assert "no answer within 0.3 s" in await fails(api, Unavailable, timeout=0.3)


async def test_a_body_that_breaks_off_is_unavailable(api: HttpApi) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"items":[')
        assert request.transport is not None
        request.transport.abort()
        return response

    api.answer("/", broken)
    await fails(api, Unavailable)


async def test_a_closed_port_is_unavailable() -> None:
    async with client(f"http://127.0.0.1:{unused_port()}/") as opened:
        with pytest.raises(Unavailable, match=r": Connection refused$"):
            await opened.get(URL(f"http://127.0.0.1:{unused_port()}/"))


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}])
async def test_a_body_is_bounded_in_bytes(api: HttpApi, headers: dict[str, str]) -> None:
    body = bytes(10 << 20)
    api.answer("/", (200, headers, gzip.compress(body, 1) if headers else body))
    assert "exceeds the limit of 1024 bytes" in await fails(api, UnusableResponse, response_limit=1024)


@pytest.mark.parametrize(
    ("encoding", "error"), [("br", "content encoding 'br'; expected gzip, deflate"), ("gzip", "cannot be decompressed")]
)
async def test_a_body_in_another_encoding_is_an_error(api: HttpApi, encoding: str, error: str) -> None:
    async def encoded(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Encoding": encoding})
        await response.prepare(request)
        await response.write(b"plain")
        return response

    api.answer("/", encoded)
    assert error in await fails(api, UnusableResponse)


async def test_a_compressed_error_is_shown(api: HttpApi) -> None:
    api.answer("/", (400, {"Content-Encoding": "gzip"}, gzip.compress(b"no such filter")))
    assert "'no such filter'" in await fails(api, UnusableResponse)
    api.answer("/", (400, {"Content-Encoding": "gzip"}, gzip.compress(b"y" * 1_000_000)))
    assert "'yyyy" in await fails(api, UnusableResponse)
