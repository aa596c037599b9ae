"""An experience layer that answers as a test says."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from aiohttp import web

from services.standalone.embedded.process import free_port
from shared.runtime.clock import SystemClock
from trelay_client import ClientCredentials, Frame, Token, subscribe

CREDENTIALS = ClientCredentials("demo", "hunter2")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FastClock(SystemClock):
    """Does not wait, and records the pauses."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)


class FakeServer:
    """An experience layer that handles each connection with the next handler."""

    def __init__(self, *handlers: Handler) -> None:
        self.requests: list[dict[str, str]] = []
        self.registrations: list[tuple[str | None, str | None]] = []
        self.register_with: list[web.Response] = []
        self.changes: list[dict[str, Any]] = []
        """The bodies of the requests to change channels."""
        self.authorizations: list[str | None] = []
        self.change_with: list[web.Response] = []
        """The answers to the next ones; then each is made."""
        self.change_by: Handler | None = None
        self.on_change: Callable[[], object] = lambda: None
        self.clock = FastClock()
        self.retries: list[str] = []
        self.url = ""
        self._handlers = list(handlers)

    @asynccontextmanager
    async def up(self) -> AsyncIterator["FakeServer"]:
        app = web.Application()
        app.router.add_post("/consumers", self._register)
        app.router.add_post("/subscriptions", self._change)
        app.router.add_get("/ws/publish", self._publish)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", free_port()).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def take(self, count: int, credentials: ClientCredentials | Token = CREDENTIALS, **more: Any) -> list[Frame]:
        """Subscribe until `count` events have arrived, or the stream stops."""
        found = []
        stream = subscribe(
            self.url, credentials, clock=self.clock, rng=random.Random(1), on_retry=self.retries.append, **more
        )
        async with asyncio.timeout(60), aclosing(stream) as frames:
            async for frame in frames:
                if not frame.own:
                    found.append(frame)
                if len(found) == count:
                    break
        return found

    async def _register(self, request: web.Request) -> web.Response:
        self.registrations.append((request.headers.get("Client-Id"), request.headers.get("Client-Secret")))
        if self.register_with:
            return self.register_with.pop(0)
        return web.json_response({"token": f"token-{len(self.registrations)}", "token_type": "Bearer"}, status=201)

    async def _change(self, request: web.Request) -> web.StreamResponse:
        self.changes.append(await request.json())
        self.authorizations.append(request.headers.get("Authorization"))
        self.on_change()
        if self.change_by is not None:
            return await self.change_by(request)
        if self.change_with:
            return self.change_with.pop(0)
        return web.json_response({"channels": [], "cursor": "after"})

    async def _publish(self, request: web.Request) -> web.StreamResponse:
        self.requests.append({"authorization": request.headers.get("Authorization", ""), **request.query})
        return await self._handlers.pop(0)(request)


def session(*frames: dict[str, Any] | str, close: tuple[int, str] | None = None, stay: bool = False) -> Handler:
    """Return a handler that sends frames, then closes, waits or disconnects."""

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for frame in frames:
            await socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))
        if close is not None:
            await socket.close(code=close[0], message=close[1].encode())
        elif stay:
            await socket.receive()
        else:
            assert request.transport is not None
            request.transport.abort()
        return socket

    return handle


def refusal(status: int, **headers: str) -> Handler:
    async def handle(_request: web.Request) -> web.StreamResponse:
        return problem(status, **headers)

    return handle


def problem(status: int, **headers: str) -> web.Response:
    return web.json_response(
        {"detail": f"because of {status}"}, status=status, headers=headers, content_type="application/problem+json"
    )


def connected(**data: Any) -> dict[str, Any]:
    return {"source": "/trelay", "type": "trelay.connected", "id": "c", "cursor": "start", "data": data}


def event(number: int) -> dict[str, Any]:
    return {"source": "/sources/orders", "type": "order", "id": str(number), "cursor": f"after-{number}"}


def ids(frames: list[Frame]) -> list[str]:
    return [frame.event["id"] for frame in frames]
