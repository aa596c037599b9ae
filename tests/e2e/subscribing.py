"""A subscriber of the tests' own, by another WebSocket library than Trelay's: it hides nothing and repairs nothing."""

import asyncio
import json
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import aiohttp
import websockets

_PAUSE = 0.05


class Mark(NamedTuple):
    """A watermark, and what had come before."""

    source: str
    as_of: float
    """In seconds since 1970."""
    events: int
    """Of the source."""


@dataclass
class RecordingSubscriber:
    """Registers, connects, reconnects with its last cursor when a connection ends, and records what it receives."""

    url: str
    """`http://127.0.0.1:port` of the experience layer; any of them."""
    client_id: str
    client_secret: str
    channels: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    control: list[dict[str, Any]] = field(default_factory=list)
    """The events of the experience layer itself."""
    cursor: str | None = None
    connections: int = 0
    open_timeout: float = 10.0
    """Seconds in which a replica must accept a connection."""
    ping_interval: float = 20.0
    """Seconds between two pings, and in which each must be answered."""
    watermarks: int | None = None
    """The least seconds between two watermarks of a source; None for none."""
    marks: list[Mark] = field(default_factory=list)
    """The watermarks that came."""
    came: Counter[str] = field(default_factory=Counter)
    """How many events of each source came."""
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _token: str | None = None

    async def run(self) -> None:
        """Subscribe until cancelled."""
        while True:
            try:
                if self._token is None:
                    self._token = await self._register()
                await self._listen(self._token)
            except websockets.InvalidStatus as exc:
                if exc.response.status_code == 401:
                    self._token = None
            except (OSError, aiohttp.ClientError, websockets.WebSocketException, TimeoutError):
                pass
            self._disconnected()
            await asyncio.sleep(_PAUSE)

    @property
    def count(self) -> int:
        """How many events came."""
        return len(self.events)

    @property
    def token(self) -> str:
        """What it connected with last."""
        assert self._token is not None, "it was not connected yet"
        return self._token

    async def connected(self) -> None:
        """Wait for the first connection."""
        async with self._news:
            await self._news.wait_for(lambda: self.cursor is not None)

    async def expect(self, count: int, timeout: float) -> None:
        """Wait until `count` events arrived, or `timeout` seconds passed: the audit finds what is missing."""
        try:
            async with asyncio.timeout(timeout), self._news:
                await self._news.wait_for(lambda: self.count >= count)
        except TimeoutError:
            print(f"{self.client_id}: {self.count} of {count} events after {timeout} s")

    def gaps(self) -> list[dict[str, Any]]:
        """Return the gaps that were reported."""
        return [frame for frame in self.control if frame["type"] == "trelay.gap"]

    async def _register(self) -> str:
        headers = {"client_id": self.client_id, "client_secret": self.client_secret}
        async with aiohttp.ClientSession() as session, session.post(f"{self.url}/consumers", headers=headers) as answer:
            if answer.status != 201:
                raise OSError(f"registration answered {answer.status}: {await answer.text()}")
            return str((await answer.json())["token"])

    async def _listen(self, token: str) -> None:
        query = {"channels": self.channels} if self.channels else {}
        if self.cursor is not None:
            query["cursor"] = self.cursor
        if self.watermarks is not None:
            query["watermarks"] = f"{self.watermarks}s"
        address = f"{self.url.replace('http', 'ws', 1)}/ws/publish?{urllib.parse.urlencode(query)}"
        headers = {"Authorization": f"Bearer {token}"}
        async with websockets.connect(
            address,
            additional_headers=headers,
            open_timeout=self.open_timeout,
            ping_interval=self.ping_interval,
            ping_timeout=self.ping_interval,
            proxy=None,
        ) as socket:
            self.connections += 1
            self._connected(socket)
            async for text in socket:
                await self._note(json.loads(text))

    async def _note(self, frame: dict[str, Any]) -> None:
        if frame["source"] == "/trelay":
            self.control.append(frame)
            if frame["type"] == "trelay.watermark":
                self._mark(frame["data"])
        else:
            self.came[frame["source"]] += 1
            self._keep(frame)
        self.cursor = frame.get("cursor", self.cursor)
        async with self._news:
            self._news.notify_all()

    def _mark(self, data: dict[str, Any]) -> None:
        as_of = datetime.fromisoformat(data["as_of"]).timestamp()
        self.marks.append(Mark(data["source"].removeprefix("/sources/"), as_of, self.came[data["source"]]))

    async def marked(self, source: str, after: float, timeout: float) -> None:
        """Wait for a watermark of a source that is as of a time or later.

        Raises:
            TimeoutError: none came within `timeout` seconds.
        """
        async with asyncio.timeout(timeout), self._news:
            await self._news.wait_for(lambda: any(m.source == source and m.as_of >= after for m in self.marks))

    def _keep(self, event: dict[str, Any]) -> None:
        self.events.append(event)

    def _connected(self, socket: websockets.ClientConnection) -> None:
        """Do nothing; for subclasses."""

    def _disconnected(self) -> None:
        """Do nothing; for subclasses."""
