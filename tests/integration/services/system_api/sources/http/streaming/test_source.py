"""A stream as a source, where the server makes it difficult."""

import asyncio
import json

import pytest
from aiohttp import web

from shared.errors import Unavailable
from tests.integration.services.system_api.sources.http.http_poller import SteppedClock
from tests.integration.services.system_api.sources.http.streaming.reading import StreamReading
from tests.servers.http_api import HttpApi, http_api


def ending(api: HttpApi, before: bytes = b"", *, empty: bool = False) -> None:
    """End each stream after its next message, or without one."""

    async def answer(request: web.Request) -> web.StreamResponse:
        after = int(request.headers.get("Last-Event-ID", "0"))
        message = b"" if empty else b"id: %d\ndata: %d\n\n" % (after + 1, after + 1)
        return web.Response(body=before + message, headers={"Content-Type": "text/event-stream"})

    api.answers["/s"] = answer


@pytest.mark.parametrize(
    ("retry", "pause"), [(b"", 1), (b"retry: 5000\n\n", 5), (b"retry: 10\n\n", 1), (b"retry: 99999999\n\n", 60)]
)
async def test_a_server_that_ends_each_stream_is_not_asked_too_often(retry: bytes, pause: float) -> None:
    async with http_api() as api:
        ending(api, retry)
        clock = SteppedClock()
        reading = StreamReading("sse", api.url("/s"), clock, longest_hold=60)
        async with reading.opened() as source:
            assert await reading.until(source, 4) == [1, 2, 3, 4]
            assert clock.slept == [pause] * 3
            await reading.settled(source, lambda: reading.waiting != ())
            assert "when the connection is open again" in reading.waiting[0]
            requests = len(api.requests)
            await reading.poll(source)
            assert len(api.requests) == requests == 4


async def test_a_server_that_has_nothing_and_says_when_to_ask_again_is_no_failure() -> None:
    async with http_api() as api:
        ending(api, b"retry: 5000\n\n", empty=True)
        clock = SteppedClock()
        reading = StreamReading("sse", api.url("/s"), clock)
        async with reading.opened() as source:
            await reading.settled(source, lambda: len(api.requests) == 3)
    assert clock.slept == [5, 5]


async def test_a_server_that_ends_the_stream_without_a_word_is_unavailable() -> None:
    async with http_api() as api:
        ending(api, empty=True)
        reading = StreamReading("sse", api.url("/s"))
        async with reading.opened() as source:
            await source.wait_for_change()
            with pytest.raises(Unavailable, match="has ended the stream"):
                await reading.poll(source)


async def test_a_connection_that_breaks_off_is_unavailable_until_it_may_be_opened_again() -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"retry: 5000\n\n")
        assert request.transport is not None
        request.transport.close()
        return response

    async with http_api() as api:
        api.answers["/s"] = broken
        clock = SteppedClock()
        reading = StreamReading("sse", api.url("/s"), clock)
        async with reading.opened() as source:
            await source.wait_for_change()
            for _ in range(3):
                with pytest.raises(Unavailable, match="not completed"):
                    await reading.poll(source)
            assert len(api.requests) == 1
            clock.at += 5
            await reading.poll(source)
            assert len(api.requests) == 2


async def test_a_list_that_is_published_in_parts_is_resumed_in_its_middle() -> None:
    async with http_api() as api:

        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            after = int(request.headers.get("Last-Event-ID", "0"))
            for number in range(after + 1, 4):
                await response.write(b"id: %d\ndata: [%d0, %d1, %d2]\n\n" % (number, number, number, number))
            await asyncio.sleep(30)
            return response

        api.answers["/s"] = answer
        reading = StreamReading("sse", api.url("/s"))
        found: list[int] = []
        async with asyncio.timeout(60):
            while len(found) < 9:
                async with reading.opened() as source:  # each time as after a crash
                    await source.wait_for_change()
                    batch = await source.poll(2)
                    found += [json.loads(record.value or b"")["data"] for record in batch.records]
                    reading.checkpoint |= {part: value for part, value in batch.checkpoint.items() if value is not None}
    assert found == [10, 11, 12, 20, 21, 22, 30, 31, 32]
