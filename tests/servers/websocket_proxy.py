"""A proxy that ends WebSockets on both sides, as some gateways do: it answers pings itself, and passes on messages.

Tests use it as such, and for what a server does rarely: it refuses a registration, loses a line, breaks a frame.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web

_PASSED = ("Authorization", "Client-Id", "Client-Secret", "Origin")
_Side = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


class WebSocketProxy:
    """In front of one server at a time."""

    def __init__(self, upstream: str, http: aiohttp.ClientSession) -> None:
        self.url = ""
        self.upstream = upstream
        self.cursors: list[str | None] = []
        """Where each connection began."""
        self.registrations = 0
        self.responses: list[web.Response] = []
        """To the next registrations, in place of those of the server."""
        self.changes: list[str] = []
        """The connections whose channels were to be changed, one for each request."""
        self.answers: list[web.Response] = []
        """To the next requests to change channels, in place of those of the server, which has made the change."""
        self.admits = asyncio.Event()
        """While it is not set, connections wait."""
        self.admits.set()
        self._http = http
        self._open: dict[web.WebSocketResponse, web.Request] = {}

    def cut(self) -> None:
        """Lose all connections, without a Close frame."""
        for socket in self._open:
            self._abort(socket)

    async def send(self, text: str) -> None:
        """Send a message to all subscribers, as if it came from the server."""
        for socket in list(self._open):
            await socket.send_str(text)

    async def _register(self, request: web.Request) -> web.Response:
        self.registrations += 1
        if self.responses:
            return self.responses.pop(0)
        async with self._http.post(self.upstream + request.path_qs, headers=_passed(request)) as response:
            headers = {name: response.headers[name] for name in ("Retry-After",) if name in response.headers}
            content = await response.read()
            kind = response.content_type
            return web.Response(status=response.status, body=content, content_type=kind, headers=headers)

    async def _change(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.changes.append(str(json.loads(body)["connection"]))
        headers = {**_passed(request), "Content-Type": "application/json"}
        async with self._http.post(self.upstream + request.path_qs, headers=headers, data=body) as response:
            content, kind = await response.read(), response.content_type
        if self.answers:
            return self.answers.pop(0)
        return web.Response(status=response.status, body=content, content_type=kind)

    async def _publish(self, request: web.Request) -> web.StreamResponse:
        await self.admits.wait()
        if request.transport is None or request.transport.is_closing():
            return web.Response(status=408)  # the client has not waited
        self.cursors.append(request.query.get("cursor"))
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        protocols = [name.strip() for name in offered.split(",") if name.strip()]
        near = web.WebSocketResponse(protocols=protocols[:1])
        address = self.upstream + request.path_qs
        try:
            async with self._http.ws_connect(address, headers=_passed(request), protocols=protocols) as far:
                await near.prepare(request)
                self._open[near] = request
                try:
                    await self._pass_on(near, far)
                finally:
                    del self._open[near]
        except aiohttp.WSServerHandshakeError as exc:
            named = {name: exc.headers[name] for name in ("Retry-After",) if exc.headers and name in exc.headers}
            return web.Response(status=exc.status, headers=named)
        return near

    async def _pass_on(self, near: web.WebSocketResponse, far: aiohttp.ClientWebSocketResponse) -> None:
        """Pass on messages until a side ends, and the code and reason of the server."""
        outward = asyncio.ensure_future(_pass_on(far, near))
        inward = asyncio.ensure_future(_pass_on(near, far))
        try:
            await asyncio.wait([outward, inward], return_when=asyncio.FIRST_COMPLETED)
            reason = outward.result() if outward.done() else ""
        finally:
            for way in (outward, inward):
                way.cancel()
            await asyncio.gather(outward, inward, return_exceptions=True)
        if far.close_code in {None, WSCloseCode.ABNORMAL_CLOSURE}:
            self._abort(near)
            return
        with suppress(ConnectionError):
            await near.close(code=far.close_code or WSCloseCode.OK, message=reason.encode())

    def _abort(self, socket: web.WebSocketResponse) -> None:
        transport = self._open[socket].transport
        if transport is not None:
            transport.abort()


@asynccontextmanager
async def websocket_proxy(upstream: str) -> AsyncIterator[WebSocketProxy]:
    """Run the proxy in front of a server."""
    async with aiohttp.ClientSession() as http:
        proxy = WebSocketProxy(upstream, http)
        app = web.Application()
        app.router.add_post("/consumers", proxy._register)
        app.router.add_post("/subscriptions", proxy._change)
        app.router.add_get("/ws/publish", proxy._publish)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield proxy
        finally:
            await runner.cleanup()


def _passed(request: web.Request) -> dict[str, str]:
    return {name: request.headers[name] for name in _PASSED if name in request.headers}


async def _pass_on(one: _Side, other: _Side) -> str:
    """Pass on messages until there are no more; return the reason of the Close frame. Pings are answered here."""
    while True:
        message = await one.receive()
        if message.type is WSMsgType.TEXT:
            with suppress(ConnectionError):
                await other.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            with suppress(ConnectionError):
                await other.send_bytes(message.data)
        else:
            return message.extra or "" if message.type is WSMsgType.CLOSE else ""
