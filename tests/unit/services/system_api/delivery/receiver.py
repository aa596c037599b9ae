"""Stands in for `POST /entity`: stores what it gets, and answers as it is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class Receiver:
    """A server that stores events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.requests = 0
        self.status = 202
        self.code = "unavailable"
        """The code of a problem."""
        self.headers: dict[str, str] = {}
        """The headers of a problem."""
        self.largest = 1_000_000
        """Bytes of the largest body that is accepted."""
        self.refuses: Callable[[dict[str, Any]], bool] = lambda _event: False
        """Whether an event can never be accepted: its request is refused, and its index is named."""
        self.refusal: tuple[int, object] = (400, None)
        """The status of such a refusal, and what is named in place of the index, where it is not None."""
        self.received = 0
        """Events of all requests."""
        self.pieces = 0
        """Bytes of each piece in which a refusal is sent; 0: it is sent at once."""
        self.lose_answers = False
        """Whether to store events and cut the connection instead of an answer."""
        self.url = ""

    async def _entity(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        body = await request.read()
        if len(body) > self.largest:
            return web.json_response({"detail": f"the body is above the limit of {self.largest} bytes"}, status=413)
        if self.status != 202:
            answer = {"detail": "not now", "code": self.code}
            return web.json_response(answer, status=self.status, headers=self.headers)
        assert request.headers["Content-Type"] == "application/cloudevents-batch+json"
        events = json.loads(body)
        self.received += len(events)
        if (index := next((index for index, event in enumerate(events) if self.refuses(event)), None)) is not None:
            status, named = self.refusal
            problem = {"detail": f"event {index}: bad", "code": "malformed", "event": index if named is None else named}
            return await self._in_pieces(request, json.dumps(problem).encode(), status)
        self.events += events
        if self.lose_answers:
            assert request.transport is not None
            request.transport.abort()
            await asyncio.Event().wait()
        return web.json_response({}, status=202)

    async def _in_pieces(self, request: web.Request, body: bytes, status: int) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"Content-Type": "application/problem+json"})
        await response.prepare(request)
        for start in range(0, len(body), self.pieces or len(body)):
            await response.write(body[start : start + (self.pieces or len(body))])
            for _ in range(5):
                await asyncio.sleep(0)  # the client reads what there is
        await response.write_eof()
        return response

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Receiver"]:
        app = web.Application(client_max_size=10_000_000)
        app.router.add_post("/entity", self._entity)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/entity"
        try:
            yield self
        finally:
            await runner.cleanup()

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]
