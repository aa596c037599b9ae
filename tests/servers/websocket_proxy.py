"""A proxy that ends WebSockets on both sides, as some gateways do: it answers pings itself, and passes on messages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
from aiohttp import WSMsgType, web

_PASSED = ("Authorization", "Origin")
_Side = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


@asynccontextmanager
async def websocket_proxy(upstream: str) -> AsyncIterator[str]:
    """Run the proxy in front of a server; yield its address. A subscriber that is silent stays connected to it."""
    async with aiohttp.ClientSession() as http:

        async def handle(request: web.Request) -> web.StreamResponse:
            headers = {name: request.headers[name] for name in _PASSED if name in request.headers}
            near = web.WebSocketResponse()
            async with http.ws_connect(f"{upstream}{request.path_qs}", headers=headers) as far:
                await near.prepare(request)
                ways = [asyncio.create_task(_pass_on(one, other)) for one, other in ((far, near), (near, far))]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
                with suppress(ConnectionError):
                    await near.close(code=far.close_code or 1000)
            return near

        app = web.Application()
        app.router.add_get("/ws/publish", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def _pass_on(one: _Side, other: _Side) -> None:
    async for message in one:  # pings are answered here
        if message.type is WSMsgType.TEXT:
            await other.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await other.send_bytes(message.data)
