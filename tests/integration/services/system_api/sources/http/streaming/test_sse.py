"""Server-sent events of a real server."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from shared.errors import SettingsError, Unauthorized, Unavailable
from shared.http.client.failures import UnusableResponse
from tests.integration.services.system_api.sources.http.streaming.reading import StreamReading
from tests.servers.http_api import HttpApi, http_api

STREAM = {"Content-Type": "text/event-stream; charset=utf-8"}


@pytest.fixture
async def api() -> AsyncIterator[HttpApi]:
    async with http_api() as api:
        yield api


def serve(api: HttpApi, *parts: bytes, hold: bool = True) -> None:
    """Send the next part to each connection, the last one again and again; then hold the connection or end it."""
    left = list(parts)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=STREAM)
        await response.prepare(request)
        await response.write(left.pop(0) if len(left) > 1 else left[0])
        if hold:
            await asyncio.sleep(30)
        return response

    api.answers["/s"] = answer


async def test_events_with_their_ids_and_names_and_credentials(api: HttpApi) -> None:
    serve(api, b'id: 1\nevent: price\ndata: {"a":\ndata: 1}\n\ndata: 2\n\nid: 2\n\n')
    settings = {"type_from": {"header": "event", "prefix": "x."}, "auth": {"kind": "bearer", "token": "t"}}
    reading = StreamReading("sse", api.url("/s"), **settings)
    async with reading.opened() as source:
        assert await reading.until(source, 2) == [{"a": 1}, 2]
    assert [event["type"] for event in reading.events] == ["x.price", "x.message"]
    assert reading.events[0]["id"] == "s:1"
    async with reading.opened() as source:
        pass
    first, second = api.requests
    assert (first.headers["Authorization"], first.headers.get("Last-Event-ID")) == ("Bearer t", None)
    assert second.headers["Last-Event-ID"] == "2"


async def test_a_stream_that_ends_is_read_again_behind_its_last_event(api: HttpApi) -> None:
    serve(api, b"id: 1\ndata: 1\n\n", b"id: 1\ndata: 1\n\nid: 2\ndata: 2\n\n", hold=False)
    reading = StreamReading("sse", api.url("/s"))
    async with reading.opened() as source:
        assert await reading.until(source, 2) == [1, 2]
    assert reading.losses == []
    assert api.requests[1].headers["Last-Event-ID"] == "1"


async def test_without_ids_each_lost_connection_is_a_loss(api: HttpApi) -> None:
    serve(api, b"data: 1\n\n", b"data: 2\n\n", hold=False)
    reading = StreamReading("sse", api.url("/s"))
    async with reading.opened() as source:
        assert await reading.until(source, 2) == [1, 2]
    assert len({event["id"] for event in reading.events}) == 2
    assert "the server cannot resume" in reading.losses[0]


async def test_a_silent_connection_is_lost(api: HttpApi) -> None:
    serve(api, b": nothing\n\n")
    reading = StreamReading("sse", api.url("/s"), heartbeat=0.1)
    async with reading.opened() as source:
        await source.wait_for_change()
        with pytest.raises(Unavailable, match="no answer within"):
            await source.poll(1)


async def test_a_message_above_the_limit_is_a_reject(api: HttpApi) -> None:
    serve(api, b"id: 1\ndata: %b\n\nid: 2\ndata: 2\n\n" % (b"x" * 5000))
    reading = StreamReading("sse", api.url("/s"), message_limit=1024)
    async with reading.opened() as source:
        assert await reading.until(source, 2) == [2]
    assert "message_limit" in reading.rejects[0]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((503, {}, b""), Unavailable),
        ((429, {}, b""), Unavailable),
        ((401, {}, b""), Unauthorized),
        ((404, {}, b""), UnusableResponse),
        ((302, {"Location": "http://127.0.0.1/"}, b""), UnusableResponse),
        ((204, {}, b""), UnusableResponse),
        ((200, {"Content-Type": "text/html"}, b"<html>"), UnusableResponse),
    ],
)
async def test_what_begins_no_stream(api: HttpApi, answer: object, error: type[Exception]) -> None:
    api.answer("/s", answer)
    with pytest.raises(error):
        async with StreamReading("sse", api.url("/s")).opened():
            pass


async def test_addresses_inside_the_network_are_refused(api: HttpApi) -> None:
    with pytest.raises(SettingsError, match="is a loopback address"):
        async with StreamReading("sse", api.url("/s"), network={}).opened():
            pass
