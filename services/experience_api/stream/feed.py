"""Reads every partition of the publish topic, without a consumer group, and delivers it in batches.

A batch goes to the history and to the hub in one step, so that a connection that joins between two batches receives all
of the second one and nothing of the first.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
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
from shared.http.health import NotYet
from shared.runtime.clock import Clock
from shared.settings import Options

logger = logging.getLogger(__name__)

_RECORDS = 1000
_IDLE = 1.0
"""Seconds after which a read without records returns, so that positions advance past the ends of transactions."""
_PAUSE = 1.0

SHORTER_CHECKS = 3
"""How often a log must be found shorter than what was read of it before it counts as truncated. Right after a broker
has taken over a partition, it may not know yet how far others had read."""

_CHECK = 10.0
"""Seconds between two checks whether the topic was recreated: offsets alone do not always show it."""

OnDelay = Callable[[str, float], None]
"""Takes the name of a source, and the seconds since this relay first held an event that was just written."""

OnDelivered = Callable[[Sequence[Record], float], None]
"""Takes records that were written to the live connections, and the seconds since they were read."""


def _ignore(_records: Sequence[Record], _seconds: float) -> None:
    """Do nothing."""


class FeedOptions(Options):
    """How the feed starts."""

    preload: int = Field(default=5000, ge=0)
    """Offsets of each partition read into the history before the first subscriber is admitted. After a restart all
    subscribers reconnect at once, and should not need the bus to resume."""


class FeedSink(Protocol):
    """Receives what the feed reads."""

    async def prepare(self, batch: Batch) -> None:
        """Do what takes long before `deliver`."""
        ...

    def deliver(self, batch: Batch) -> None:
        """Take the next batch, and add it to the history."""
        ...

    def on_gap(self, reason: str, detail: str) -> None:
        """Report that the history was restarted at offsets that do not follow what was delivered."""
        ...


class Feed:
    """Reads for as long as `run` runs. `problem` is why nothing can be served at the moment."""

    def __init__(  # noqa: PLR0913 -- what it is made of, each from another part
        self,
        bus: Bus,
        topic: str,
        history: History,
        *,
        sink: FeedSink,
        options: FeedOptions,
        clock: Clock,
        on_delay: OnDelay,
        on_delivered: OnDelivered = _ignore,
    ) -> None:
        self.problem: str | None = NotYet("starting: publish topic not read yet")
        self.ready = False
        """Whether the history has been preloaded, so that subscribers may be served from it."""
        self.malformed = 0
        self._bus = bus
        self._topic = topic
        self._history = history
        self._sink = sink
        self._options = options
        self._clock = clock
        self._on_delay = on_delay
        self._on_delivered = on_delivered
        self._shorter_checks = 0
        self._unavailable_since: float | None = None

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                goal = await self._begin()
                async with self._bus.reader(self._topic, dict(enumerate(self._history.head))) as reader:
                    await self._read_on(reader, goal)
            except PositionLost as lost:
                logger.warning(
                    "lost position in publish topic",
                    extra={"component": "stream", "topic": self._topic, "error": str(lost)},
                )
                if lost.truncated:
                    self._restart_at(lost.partition, lost.earliest, LOG_CUT, str(lost))
                elif lost.earliest > lost.offset:  # the bounds of the topic need not show it, such as after a restore
                    self._restart_at(lost.partition, lost.earliest, NOT_KEPT, str(lost))
            except Unavailable as exc:
                self._report_unavailable(exc)
                await self._clock.sleep(_PAUSE)

    async def _begin(self) -> Vector:
        """Fit the history to the topic as it is now; return the offsets up to which it has to be read."""
        epoch = await self._bus.epoch(self._topic)
        bounds = await self._bus.bounds(self._topic)
        ends = tuple(bounds[partition][1] for partition in range(len(bounds)))
        known = self._history.codec
        if (known.epoch, known.partitions) == (epoch, len(bounds)):
            self._repair(bounds)
            return ends
        start = tuple(max(bounds[partition][0], end - self._options.preload) for partition, end in enumerate(ends))
        self._history.restart(CursorCodec(epoch, len(bounds)), ends if self.ready else start)
        if self.ready:
            self._sink.on_gap(TOPIC_REPLACED, f"{self._topic} was recreated, or its number of partitions changed")
        return ends

    def _repair(self, bounds: Mapping[int, tuple[int, int]]) -> None:
        """Continue after lost records and report the gap: retention overtook the feed, or the log was truncated."""
        for partition, (earliest, end) in bounds.items():
            offset = self._history.head[partition]
            if earliest <= offset <= end:
                continue
            detail = f"partition {partition}: offset {offset} is outside {earliest} to {end}"
            if offset > end and self._shorter_checks < SHORTER_CHECKS:
                self._shorter_checks += 1
                raise Unavailable(f"{self._topic} appears truncated: {detail}")
            if offset < earliest:
                self._restart_at(partition, earliest, NOT_KEPT, detail)
            else:
                self._restart_at(partition, end, LOG_CUT, detail)
        self._shorter_checks = 0

    def _restart_at(self, partition: int, offset: int, reason: str, detail: str) -> None:
        vector = list(self._history.head)
        vector[partition] = offset
        self._history.restart(self._history.codec, tuple(vector))
        logger.error(
            "resuming after gap",
            extra={
                "component": "stream",
                "topic": self._topic,
                "partition": partition,
                "offset": offset,
                "reason": reason,
                "error": detail,
            },
        )
        self._sink.on_gap(reason, detail)

    async def _read_on(self, reader: Reader, goal: Vector) -> None:
        """Read until the topic is recreated."""
        encoder = FrameEncoder(self._history.codec, self._history.head)
        check = self._clock.monotonic() + _CHECK
        while True:
            if self._clock.monotonic() > check:
                if await self._bus.epoch(self._topic) != self._history.codec.epoch:
                    return
                check = self._clock.monotonic() + _CHECK
            if self.problem is not None and not any(map(int.__lt__, self._history.head, goal)):
                self._report_ready()
            records = await reader.read(_RECORDS, _IDLE)
            began = self._clock.monotonic()
            for batch in encoder.batches(records):
                await self._sink.prepare(batch)
                self._sink.deliver(batch)
                await asyncio.sleep(0)
            self._advance(encoder, reader.positions)
            if records and self.ready:
                self._observe_delay(records[0])
                self._on_delivered(records, self._clock.monotonic() - began)

    def _report_unavailable(self, exc: Unavailable) -> None:
        if self._unavailable_since is None:
            self._unavailable_since = self._clock.monotonic()
            logger.warning(
                "publish topic unavailable", extra={"component": "stream", "topic": self._topic, "error": str(exc)}
            )
        self.problem = str(exc)

    def _report_ready(self) -> None:
        self.ready = True
        self.problem = None
        extra: dict[str, object] = {"component": "stream", "topic": self._topic}
        if self._unavailable_since is not None:
            extra["after_s"] = round(self._clock.monotonic() - self._unavailable_since, 1)
            self._unavailable_since = None
        logger.info("publish topic up to date", extra=extra)

    def _advance(self, encoder: FrameEncoder, positions: Mapping[int, int]) -> None:
        """Advance over offsets that were read without an event."""
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
