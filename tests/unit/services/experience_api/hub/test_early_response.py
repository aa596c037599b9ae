import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import HttpVersion, HttpVersion10, HttpVersion11, web
from aiohttp.test_utils import TestServer

from services.experience_api.hub.early_response import EarlyResponse

HEADERS = {"Cache-Control": "no-store"}
BODY = b'{"events": []}'


@asynccontextmanager
async def responding(probes: int, version: HttpVersion) -> AsyncIterator[aiohttp.ClientResponse]:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = EarlyResponse(request, HEADERS)
        for _ in range(probes):
            await response.probe()
        whole = await response.whole(BODY)
        await response.probe()  # one that was waiting
        return whole

    app = web.Application()
    app.router.add_get("/", handler)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession(version=version) as http,
        http.get(server.make_url("/")) as response,
    ):
        yield response


@pytest.mark.parametrize("version", [HttpVersion10, HttpVersion11], ids=["1.0", "1.1"])
@pytest.mark.parametrize("probes", [0, 1, 3])
async def test_white_space_precedes_the_body(probes: int, version: HttpVersion) -> None:
    async with responding(probes, version) as response:
        text = await response.text()
        assert text == "\n" * probes + BODY.decode()
        assert json.loads(text) == {"events": []}
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert (response.headers.get("Connection") == "close") == (probes > 0 and version == HttpVersion11)


async def test_one_whose_peer_has_disconnected_cannot_be_probed() -> None:
    outcome: set[str] = set()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = EarlyResponse(request, HEADERS)
        assert request.transport is not None
        request.transport.abort()
        with pytest.raises(ConnectionError):
            await response.probe()
        outcome.add("raised")
        return web.Response()

    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientError):
            await http.get(server.make_url("/"))
    assert outcome == {"raised"}
