"""Subscribers of a measurement that note when each event came."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from shared.bus.protocol import Outgoing
from shared.events.headers import headers_of

CHANNEL = b"bench.fanout"
EVENT_BYTES = 200


def stamped(number: int, subjects: int = 100) -> Outgoing:
    """Return an event of about 200 bytes, of one of the subjects, with the time at which it was made."""
    head = b'{"specversion":"1.0","id":"bench:%08d","source":"/sources/bench","type":"bench","subject":"%d","data":' % (
        number,
        number % subjects,
    )
    head += b'{"at":%d,"number":%d,"fill":"' % (time.monotonic_ns(), number)
    value = head + b"x" * (EVENT_BYTES - len(head) - 3) + b'"}}'
    return Outgoing(CHANNEL, value, headers_of(b"bench 1700000000000 bench:%08d" % number))


class Probe:
    """One subscriber."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        """Milliseconds from the making of each event to its arrival."""
        self.cursor = ""
        """Of the first frame."""
        self.number = -1
        """Of the last event."""
        self._news = asyncio.Event()

    async def read(self, http: aiohttp.ClientSession, url: str) -> None:
        async with http.ws_connect(url, max_msg_size=0) as socket:
            async for message in socket:
                arrived = time.monotonic_ns()
                event = json.loads(message.data)
                if event["source"] == "/trelay":
                    self.cursor = self.cursor or event.get("cursor", "")
                else:
                    self.number = event["data"]["number"]
                    self.delays.append((arrived - event["data"]["at"]) / 1e6)
                self.noticed()

    def noticed(self) -> None:
        """Wake who waits in `reached`."""
        self._news.set()

    async def reached(self, number: int) -> None:
        """Wait for an event; for the first frame if that is -1."""
        while self.number < number or not self.cursor:
            self._news.clear()
            await self._news.wait()


@asynccontextmanager
async def probes(port: int, count: int, query: str = "") -> AsyncIterator[list[Probe]]:
    """Run some subscribers for as long as the context lasts."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        found = [Probe() for _ in range(count)]
        tasks = [asyncio.ensure_future(probe.read(http, f"http://127.0.0.1:{port}/?{query}")) for probe in found]
        try:
            for probe in found:
                await probe.reached(-1)
            yield found
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def delays_during(probe: Probe, work: Awaitable[object]) -> list[float]:
    """Return the delays, in milliseconds, of the events that come while something is done."""
    probe.delays.clear()
    await work
    return list(probe.delays)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which this share of them is."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
