"""Spans of calls to other systems: children of the span of the work that makes them."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from shared.errors import Unavailable
from shared.runtime.trace import ClientSpan, client_spans, client_spans_of_context, current_span
from shared.telemetry.tracing import NO_TRACING
from tests.unit.shared.telemetry.test_parents import OTHER, PARENT, TRACE
from tests.unit.shared.telemetry.tracers import MemorySpans

UNSAMPLED = f"{PARENT[:-2]}00"
STEP = {"trelay.pipeline": "orders", "trelay.step": "steps.0.enrich"}


def begun(name: str = "GET") -> ClientSpan | None:
    spans = client_spans()
    return None if spans is None else spans.begin(name, {"server.address": "db"})


def call(error: str | None = None) -> ClientSpan:
    span = begun()
    assert span is not None
    span.end({"http.response.status_code": 200}, error)
    return span


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def test_a_call_of_a_poll_is_a_child_of_the_poll() -> None:
    spans = MemorySpans()
    with spans.tracing().poll("orders") as poll:
        made = call()
        poll.found(1, 0)
    child, parent = spans.ended
    assert (child.name, child.kind, parent.name) == ("GET", SpanKind.CLIENT, "poll orders")
    assert child.attributes == {"server.address": "db", "http.response.status_code": 200}
    assert child.context is not None
    assert parent.context is not None
    assert parent_of(child) == parent.context.span_id
    assert made.traceparent == f"00-{child.context.trace_id:032x}-{child.context.span_id:016x}-01"
    assert child.start_time is not None
    assert parent.start_time is not None
    assert child.end_time is not None
    assert parent.end_time is not None
    assert parent.start_time <= child.start_time <= child.end_time <= parent.end_time


def test_calls_of_a_poll_that_finds_nothing_have_no_spans() -> None:
    spans = MemorySpans()
    with spans.tracing().poll("orders"):
        call()
        left = begun()
        reporting = client_spans_of_context()
    assert left is not None
    left.end({})
    assert reporting is not None
    assert reporting.begin("SELECT shop", {}, 1.0) is None
    assert not spans.ended


def test_calls_of_a_poll_that_fails_show_which_one_failed() -> None:
    spans = MemorySpans()

    def failing() -> None:
        with spans.tracing().poll("orders"):
            call("ConnectionRefusedError")
            raise Unavailable("connection refused")

    with pytest.raises(Unavailable):
        failing()
    child, _ = spans.ended
    assert (child.status.status_code, child.status.description) == (StatusCode.ERROR, None)
    assert (child.attributes or {})["error.type"] == "ConnectionRefusedError"


def test_a_poll_that_is_not_sampled_has_no_spans_of_calls() -> None:
    spans = MemorySpans()
    with spans.tracing(ratio=0).poll("orders") as poll:
        assert begun() is None
        poll.found(1, 0)
    assert not spans.ended


def test_a_poll_has_a_bounded_number_of_spans() -> None:
    spans = MemorySpans()
    with spans.tracing().poll("orders") as poll:
        found = [begun() for _ in range(200)]
        poll.found(1, 0)
    assert sum(span is not None for span in found) == 128


def test_a_call_that_is_reported_late_has_a_span_and_one_that_began_later_has_none() -> None:
    spans = MemorySpans()
    with spans.tracing().poll("orders") as poll:
        reporting = client_spans_of_context()
        poll.found(1, 0)
    assert client_spans() is None
    assert reporting is not None
    late = reporting.begin("SELECT shop", {}, 60.0)
    assert late is not None
    late.end({})
    assert reporting.begin("SELECT shop", {}, -60.0) is None
    assert [span.name for span in spans.ended] == ["poll orders", "SELECT shop"]


def test_a_call_for_events_is_in_the_trace_of_the_first_and_linked_to_the_others() -> None:
    spans = MemorySpans()
    traceparents = [None, "malformed", UNSAMPLED, PARENT, OTHER, PARENT]
    with spans.tracing().following(traceparents, STEP):
        assert str(current_span()) == PARENT
        call()
    assert current_span() is None
    (span,) = spans.ended
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert parent_of(span) == int(PARENT[36:52], 16)
    assert [f"{link.context.span_id:016x}" for link in span.links] == [OTHER[36:52]]
    assert {name: (span.attributes or {})[name] for name in STEP} == STEP


@pytest.mark.parametrize("on", [True, False])
def test_without_spans_requests_can_continue_the_trace_of_the_event_all_the_same(on: bool) -> None:
    spans = MemorySpans()
    tracing = spans.tracing() if on else NO_TRACING
    with tracing.following([None, UNSAMPLED], STEP):
        assert str(current_span()) == UNSAMPLED
        assert begun() is None
    with tracing.following([None, "malformed"], STEP):
        assert current_span() is None
    with NO_TRACING.following([PARENT], STEP):
        assert str(current_span()) == PARENT
        assert begun() is None
    assert not spans.ended


async def test_calls_of_a_request_are_children_of_the_request_until_a_stream_begins() -> None:
    spans = MemorySpans()

    async def show(_request: web.Request) -> web.Response:
        call()
        return web.Response()

    async def stream(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        call()
        await socket.prepare(request)
        await socket.send_str("none" if begun() is None else "begun")
        return socket

    app = web.Application()
    (await asyncio.to_thread(spans.tracing)).trace_requests(app)
    app.router.add_get("/clients", show)
    app.router.add_get("/ws", stream)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with aiohttp.ClientSession() as http, asyncio.timeout(60):
            async with http.get(f"{url}/clients") as response:
                await response.read()
            async with http.ws_connect(f"{url}/ws") as socket:
                assert await socket.receive_str() == "none"
    finally:
        await runner.cleanup()
    assert [span.name for span in spans.ended] == ["GET", "GET /clients", "GET", "GET /ws"]
    for child, parent in zip(spans.ended[::2], spans.ended[1::2], strict=True):
        assert parent.context is not None
        assert parent_of(child) == parent.context.span_id
