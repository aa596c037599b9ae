"""The shapes of spans of requests, by the semantic conventions for HTTP servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from shared.http.problem import problems
from shared.runtime.trace import current_span
from tests.unit.shared.telemetry.test_parents import PARENT, TRACE
from tests.unit.shared.telemetry.tracers import MemorySpans

SECRET = "s3cret"


async def show(request: web.Request) -> web.Response:
    return web.json_response({"span": str(current_span()), "name": request.match_info.get("name")})


async def fail(_request: web.Request) -> web.Response:
    raise ValueError(SECRET)


async def stream(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.receive()
    return socket


@asynccontextmanager
async def served(spans: MemorySpans) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    app = web.Application(middlewares=[problems])
    tracing = await asyncio.to_thread(spans.tracing)
    tracing.trace_requests(app)
    app.router.add_get("/sources/{name}", show)
    app.router.add_get("/healthz", show)
    app.router.add_get("/fail", fail)
    app.router.add_get("/ws", stream)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as http, asyncio.timeout(60):
            yield f"http://127.0.0.1:{runner.addresses[0][1]}", http
    finally:
        await runner.cleanup()


async def one(path: str, headers: dict[str, str] | None = None, method: str = "GET") -> ReadableSpan:
    spans = MemorySpans()
    async with served(spans) as (url, http), http.request(method, url + path, headers=headers) as response:
        await response.read()
    (span,) = spans.ended
    assert SECRET not in span.to_json()
    return span


async def test_a_request_has_the_attributes_of_the_conventions_and_no_secret() -> None:
    headers = {"Authorization": f"Bearer {SECRET}", "Cookie": f"a={SECRET}"}
    span = await one(f"/sources/a%20b?ticket={SECRET}", headers)
    assert (span.name, span.kind, span.parent) == ("GET /sources/{name}", SpanKind.SERVER, None)
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/sources/{name}",
        "http.response.status_code": 200,
        "url.path": "/sources/a%20b",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
    }
    assert span.status.status_code is StatusCode.UNSET


async def test_a_request_continues_the_trace_of_its_header_and_the_handler_works_on_its_span() -> None:
    spans = MemorySpans()
    async with served(spans) as (url, http), http.get(f"{url}/sources/a", headers={"traceparent": PARENT}) as response:
        inside = (await response.json())["span"]
    (span,) = spans.ended
    assert span.parent is not None
    assert span.context is not None
    assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]
    assert inside == f"00-{TRACE}-{span.context.span_id:016x}-01"


@pytest.mark.parametrize("header", ["nonsense", PARENT.upper(), f"00-{'0' * 32}-00f067aa0ba902b7-01"])
async def test_a_malformed_header_counts_as_absent(header: str) -> None:
    assert (await one("/sources/a", {"traceparent": header})).parent is None


async def test_a_request_that_fails_has_the_status_of_its_response() -> None:
    span = await one("/fail")
    assert span.attributes is not None
    assert (span.attributes["http.response.status_code"], span.attributes["error.type"]) == (500, "500")
    assert span.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize(("method", "name", "known"), [("GET", "GET", "GET"), ("PROPFIND", "HTTP", "_OTHER")])
async def test_a_request_without_a_route_or_with_an_unknown_method_adds_no_name(
    method: str, name: str, known: str
) -> None:
    span = await one("/favicon.ico", method=method)
    assert span.name == name
    assert span.attributes is not None
    assert span.attributes["http.request.method"] == known
    assert span.attributes["http.response.status_code"] == 404
    assert "http.route" not in span.attributes


async def test_probes_have_no_span() -> None:
    spans = MemorySpans()
    async with served(spans) as (url, http), http.get(f"{url}/healthz") as response:
        await response.read()
    assert not spans.ended


async def test_the_span_of_a_websocket_ends_with_the_upgrade() -> None:
    spans = MemorySpans()
    async with served(spans) as (url, http):
        socket = await http.ws_connect(f"{url}/ws")
        (span,) = spans.ended
        await socket.close()
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 101
    assert len(spans.ended) == 1
