"""The pause that a server asks for when it refuses a stream."""

from typing import Any

import pytest
from aiohttp import web

from shared.errors import Unavailable
from tests.integration.services.system_api.sources.http.http_poller import SteppedClock
from tests.integration.services.system_api.sources.http.streaming.reading import StreamReading
from tests.servers.http_api import HttpApi, http_api


def url_of(api: HttpApi, kind: str) -> str:
    return api.url("/s") if kind == "sse" else api.url("/s").replace("http", "ws")


async def stream(request: web.Request) -> web.StreamResponse:
    """Begin a stream of either kind, and end it."""
    if "Upgrade" in request.headers:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        return socket
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


async def refused(reading: StreamReading, reason: str) -> None:
    with pytest.raises(Unavailable, match=reason):
        async with reading.opened():
            pass


@pytest.mark.parametrize("kind", ["sse", "websocket"])
@pytest.mark.parametrize("status", [429, 503, 403])
async def test_nothing_is_requested_before_the_server_wants_it(kind: str, status: int) -> None:
    clock = SteppedClock()
    async with http_api() as api:
        api.answer("/s", (status, {"Retry-After": "40"}, None), stream)
        reading = StreamReading(kind, url_of(api, kind), clock)
        await refused(reading, f": {status}$")
        clock.at += 39
        await refused(reading, f": {status}: the server wants no request for 1 s")
        assert len(api.requests) == 1
        clock.at += 1
        async with reading.opened():
            assert len(api.requests) == 2


@pytest.mark.parametrize("kind", ["sse", "websocket"])
async def test_nothing_is_requested_before_the_server_of_the_tokens_wants_it(kind: str) -> None:
    clock = SteppedClock()
    async with http_api() as api:
        api.answer("/token", (429, {"Retry-After": "40"}, None), {"access_token": "t"})
        api.answer("/s", stream)
        auth: dict[str, Any] = {"kind": "oauth2", "token_url": api.url("/token"), "client_id": "me"}
        reading = StreamReading(kind, url_of(api, kind), clock, auth=auth | {"client_secret": "s3cret"})
        await refused(reading, "/token: 429")
        await refused(reading, "the server wants no request for 40 s")
        assert api.paths() == ["/token"]
        clock.at += 40
        async with reading.opened():
            assert api.paths() == ["/token", "/token", "/s"]


@pytest.mark.parametrize("kind", ["sse", "websocket"])
async def test_the_pause_is_bounded_by_the_settings(kind: str) -> None:
    clock = SteppedClock()
    async with http_api() as api:
        api.answer("/s", (503, {"Retry-After": "86400"}, None), stream)
        reading = StreamReading(kind, url_of(api, kind), clock, longest_hold=10)
        await refused(reading, ": 503")
        clock.at += 10
        async with reading.opened():
            assert len(api.requests) == 2
