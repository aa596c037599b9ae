"""A stream as a source, where the server makes it difficult."""

import asyncio
import json

from aiohttp import web

from tests.integration.services.system_api.sources.http.streaming.reading import StreamReading
from tests.servers.http_api import http_api


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
