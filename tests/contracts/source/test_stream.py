"""Server-sent events and WebSockets, on a real server that can be resumed after an id or a cursor."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from services.system_api.sources.http.streaming.opening import SseSourceKind, WebSocketSourceKind
from services.system_api.sources.source import SourceOptions
from tests.contracts.source.suite import SourceContract
from tests.contracts.source.upstream import COMMON, line
from tests.servers.http_api import HttpApi, http_api
from tests.servers.proxy import Proxy


class Log:
    """A log that both protocols serve."""

    exactly_once = True
    path = ""

    def __init__(self, proxy: Proxy) -> None:
        self.port = proxy.port
        self.outage = proxy.outage
        self.slow = proxy.slow
        self._entries: list[bytes] = []
        self._grown = asyncio.Condition()

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls) -> AsyncIterator["Log"]:
        async with http_api() as api, Proxy.before("127.0.0.1", api.port) as proxy:
            log = cls(proxy)
            log.serve(api)
            yield log

    def serve(self, api: HttpApi) -> None:
        api.answers[self.path] = self.answer

    def options(self) -> SourceOptions:
        raise NotImplementedError

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raise NotImplementedError

    async def write(self, numbers: Sequence[int]) -> None:
        await self._append(*map(line, numbers))

    async def write_poison(self) -> None:
        await self._append(b"{no json")

    async def _append(self, *entries: bytes) -> None:
        async with self._grown:
            self._entries += entries
            self._grown.notify_all()

    async def entries(self, after: int) -> AsyncIterator[tuple[int, bytes]]:
        """Yield the entries behind a place, without end."""
        while True:
            async with self._grown:
                await self._grown.wait_for(lambda after=after: len(self._entries) > after)  # type: ignore[misc] # of a default
            for entry in self._entries[after:]:
                after += 1
                yield after, entry


class EventStream(Log):
    path = "/events"

    def options(self) -> SseSourceKind:
        return SseSourceKind.model_validate(
            {
                **COMMON,
                "kind": "sse",
                "url": f"http://127.0.0.1:{self.port}{self.path}",
                "network": {"allow": ["127.0.0.1"]},
                "subject": "k",
                "timeout": 5,
            }
        )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        # Each resumption repeats the last event, as servers do that keep events by a clock.
        after = max(0, int(request.headers.get("Last-Event-ID", "0")) - 1)
        async for number, entry in self.entries(after):
            await response.write(b": heartbeat\n\nid: %d\nevent: number\ndata: %b\n\n" % (number, entry))
        return response


class Socket(Log):
    path = "/ws"

    def options(self) -> WebSocketSourceKind:
        return WebSocketSourceKind.model_validate(
            {
                **COMMON,
                "kind": "websocket",
                "url": f"ws://127.0.0.1:{self.port}{self.path}",
                "network": {"allow": ["127.0.0.1"]},
                "subscribe": ['{"op": "subscribe"}'],
                "cursor": "offset",
                "resume": '{"op": "resume", "after": cursor}',
                "records": "entries",
                "subject": "k",
                "timeout": 5,
            }
        )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        message = await socket.receive()
        if message.type is not WSMsgType.TEXT:
            return socket
        asked: dict[str, Any] = json.loads(message.data)
        after = int(asked["after"]) if asked["op"] == "resume" else 0
        async for number, entry in self.entries(after):
            entries = b'{"k": null}' if entry.startswith(b"{no") else entry
            await socket.send_str((b'{"entries": [%b], "offset": %d}' % (entries, number)).decode())
        return socket


class TestEventStream(SourceContract):
    interruptions = 6

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[Log]:
        async with EventStream.opened() as log:
            yield log


@pytest.mark.chaos  # it shares all but the transport with the other
class TestWebSocket(SourceContract):
    interruptions = 6

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[Log]:
        async with Socket.opened() as log:
            yield log
