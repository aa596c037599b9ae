"""The feed: every replica reads every partition of the publish topic, in no group, and turns it into batches.

What was read goes to the history and to the hub in one step, so that whoever joins between two batches has all of the
one and nothing of the other.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from pydantic import Field

from services.experience_api.stream.control_events import LOG_CUT, NOT_KEPT, TOPIC_REPLACED
from services.experience_api.stream.history import History
from services.experience_api.wire.cursor import CursorCodec, Vector
from services.experience_api.wire.records import Batch, FrameEncoder
from shared.bus.protocol import Bus, Reader, Record
from shared.errors import PositionLost, Unavailable
from shared.events.event import MalformedEvent
from shared.events.headers import packed_provenance, unpack_provenance
from shared.runtime.clock import Clock
from shared.settings import Options

logger = logging.getLogger(__name__)

_RECORDS = 1000
_IDLE = 1.0
"""Seconds after which a read that found nothing returns, so that the ends of transactions are passed."""
_PAUSE = 1.0

DOUBTS = 3
"""How often a log must be found shorter than what was read of it before that is believed: right after a broker has
taken over a partition, it may not know yet how far others had read."""

_CHECK = 10.0
"""Seconds between two looks whether the topic was made anew: offsets alone do not always tell."""

OnDelay = Callable[[str, float], None]
"""Takes the name of a source, and how many seconds ago this relay first held an event that was just written."""


class FeedOptions(Options):
    """How the feed begins."""

    preload: int = Field(default=5000, ge=0)
    """Offsets of each partition that are read into the history before the first subscriber is let in: after a restart
    everybody comes back at once, and should not need the bus for it."""


class Readers(Protocol):
    """Whom the feed reads for."""

    def deliver(self, batch: Batch) -> None:
        """Take the next batch, into the history too."""
        ...

    def broken(self, reason: str, detail: str) -> None:
        """The history was started again from a place that does not follow on what was delivered."""
        ...


class Feed:
    """Reads for as long as it is run. `problem` says why nothing can be served at the moment."""

    def __init__(
        self,
        bus: Bus,
        topic: str,
        history: History,
        *,
        readers: Readers,
        options: FeedOptions,
        clock: Clock,
        on_delay: OnDelay,
    ) -> None:
        self.problem: str | None = "the publish topic has not been read yet"
        self.open = False
        """Whether the history begins where it should, so that subscribers may be served from it."""
        self.malformed = 0
        self._bus = bus
        self._topic = topic
        self._history = history
        self._readers = readers
        self._options = options
        self._clock = clock
        self._on_delay = on_delay
        self._doubts = 0

    async def follow(self) -> None:
        """Read for ever."""
        while True:
            try:
                goal = await self._begin()
                async with self._bus.reader(self._topic, dict(enumerate(self._history.head))) as reader:
                    await self._read_on(reader, goal)
            except PositionLost as lost:
                logger.warning("the feed has lost its place: %s", lost)
                if lost.truncated:
                    self._restart_at(lost.partition, lost.earliest, LOG_CUT, str(lost))
            except Unavailable as exc:
                if self.problem != str(exc):
                    logger.warning("the feed waits: %s", exc)
                self.problem = str(exc)
                await self._clock.sleep(_PAUSE)

    async def _begin(self) -> Vector:
        """Make the history fit the topic as it is now; return how far it has to be read to be up to date."""
        epoch = await self._bus.epoch(self._topic)
        bounds = await self._bus.bounds(self._topic)
        ends = tuple(bounds[partition][1] for partition in range(len(bounds)))
        known = self._history.codec
        if (known.epoch, known.partitions) == (epoch, len(bounds)):
            self._repair(bounds)
            return ends
        start = tuple(max(bounds[partition][0], end - self._options.preload) for partition, end in enumerate(ends))
        self._history.restart(CursorCodec(epoch, len(bounds)), ends if self.open else start)
        if self.open:
            self._readers.broken(TOPIC_REPLACED, f"{self._topic} was made anew, or has other partitions now")
        return ends

    def _repair(self, bounds: Mapping[int, tuple[int, int]]) -> None:
        """Go on behind what is lost, and say so: retention was faster than we were, or the log has become shorter."""
        for partition, (earliest, end) in bounds.items():
            offset = self._history.head[partition]
            if earliest <= offset <= end:
                continue
            detail = f"partition {partition}: offset {offset} of {earliest} to {end}"
            if offset > end and self._doubts < DOUBTS:
                self._doubts += 1
                raise Unavailable(f"{self._topic} seems to have become shorter: {detail}")
            if offset < earliest:
                self._restart_at(partition, earliest, NOT_KEPT, detail)
            else:
                self._restart_at(partition, end, LOG_CUT, detail)
        self._doubts = 0

    def _restart_at(self, partition: int, offset: int, reason: str, detail: str) -> None:
        vector = list(self._history.head)
        vector[partition] = offset
        self._history.restart(self._history.codec, tuple(vector))
        logger.error("the feed goes on behind a gap: %s", detail)
        self._readers.broken(reason, detail)

    async def _read_on(self, reader: Reader, goal: Vector) -> None:
        """Read on for as long as the topic is the one that it was."""
        encoder = FrameEncoder(self._history.codec, self._history.head)
        check = self._clock.monotonic() + _CHECK
        while True:
            if self._clock.monotonic() > check:
                if await self._bus.epoch(self._topic) != self._history.codec.epoch:
                    return
                check = self._clock.monotonic() + _CHECK
            if self.problem is not None and not any(map(int.__lt__, self._history.head, goal)):
                self.open = True
                self.problem = None
                logger.info("the feed is up to date")
            records = await reader.read(_RECORDS, _IDLE)
            for batch in encoder.batches(records):
                self._readers.deliver(batch)
                await asyncio.sleep(0)
            self._pass(encoder, reader.positions)
            if records and self.open:
                self._observe_delay(records[0])

    def _pass(self, encoder: FrameEncoder, positions: Mapping[int, int]) -> None:
        """Note what was read over without giving an event."""
        head = self._history.head
        passed = {partition: offset for partition, offset in positions.items() if offset > head[partition]}
        if passed:
            encoder.advance(passed)
            self._history.advance(passed)
        self.malformed += encoder.malformed
        encoder.malformed = 0

    def _observe_delay(self, record: Record) -> None:
        packed = packed_provenance(record.headers)
        if packed is None:
            return
        try:
            provenance = unpack_provenance(packed)
        except MalformedEvent:
            return
        self._on_delay(provenance.source, self._clock.time() - provenance.read_ms / 1000)
