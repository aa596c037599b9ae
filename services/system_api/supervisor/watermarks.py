"""Writes the watermarks of a source: that everything the upstream had at a time is on the bus, below some offsets.

A watermark is written with the writer of the source, after everything that was read is committed. So that of an owner
that was fenced never becomes visible: its successor may have read what this one did not see.
"""

import asyncio

from services.system_api.sources.source import Batch
from services.system_api.supervisor.publisher import bus_errors
from shared.bus.protocol import Bus, Transaction, Writer
from shared.bus.topics import TopicsOptions
from shared.errors import Unavailable
from shared.events.watermark import Watermark, vector
from shared.runtime.clock import Clock

_TIMEOUT = 2.0
"""Seconds to find the offsets."""


class Freshness:
    """As of when everything that the upstream had has been read."""

    def __init__(self) -> None:
        self._reading_since: float | None = None

    def begin(self, now: float) -> None:
        """Note that a poll begins. One that continues the reading of the poll before does not begin another."""
        if self._reading_since is None:
            self._reading_since = now

    def end(self, batch: Batch) -> float | None:
        """Note what the poll found; return the time as of which all is read, or None where that is not known."""
        since = self._reading_since
        if batch.more:
            return None
        self._reading_since = None
        return since if batch.whole and not batch.waiting and not batch.problems else None


class WatermarkWriter:
    """Writes watermarks of one source at an interval at most."""

    def __init__(
        self, source: str, channel: str | None, topics: TopicsOptions, bus: Bus, interval: float, clock: Clock
    ) -> None:
        """`channel` is that of the source, if its events go directly to subscribers; `interval` is in seconds."""
        self._source = source
        self._channels = [] if channel is None else [channel]
        self._destination = topics.ingest if channel is None else topics.publish
        self._topic = topics.watermarks
        self._bus = bus
        self._interval = interval
        self._clock = clock
        self._due = clock.monotonic()

    async def write(self, as_of: float, writer: Writer) -> None:
        """Write the watermark of a time, if one is due. All that was read by then is committed.

        Raises what `Writer.commit` does. Where the offsets cannot be found, there is no watermark: a source does not
        wait for it.
        """
        now = self._clock.monotonic()
        if now < self._due:
            return
        try:
            async with asyncio.timeout(_TIMEOUT):
                epoch = await self._bus.epoch(self._destination)
                ends = vector(await self._bus.ends(self._destination))
        except (Unavailable, TimeoutError):
            return
        self._due = now + self._interval
        mark = Watermark(self._source, int(as_of * 1000), self._destination, epoch, ends, self._channels)
        transaction = Transaction()
        transaction.append(self._topic, *mark.record())
        with bus_errors():
            await writer.commit(transaction)
