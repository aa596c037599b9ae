"""Copies the publish topic to the latest events, on the one replica that holds the lease for it.

A batch and the positions behind it are one transaction, which has an effect only if the stored positions are those at
which the batch begins. So each record counts once, whatever is killed, and also if two replicas believe that they hold
the lease. One replica copies all partitions: the database limits how fast that is, and larger transactions cost less.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from services.experience_api.latest.options import LatestOptions
from services.experience_api.latest.subjects import Batch, Kept
from services.experience_api.latest.view import LatestStore, Shorter, Stale, View
from shared.bus.protocol import Bus, Record
from shared.errors import PositionLost, TrelayError
from shared.lease import Lease, Leases
from shared.runtime.clock import Clock
from shared.runtime.failpoints import reach

logger = logging.getLogger(__name__)

LEASE = "latest-events"
_RECORDS = 2000
_BACKLOG = _RECORDS // 2
"""Records of one read that show that there are more: they are read at once. A read may return fewer than it could."""
_BATCH_BYTES = 8 * 1024 * 1024
_IDLE = 1.0
"""Seconds after which a read without records returns."""
_PAUSE = 1.0
_SHORTER_CHECKS = 3
"""How often the topic must be found shorter than what was copied: see `feed.py` of the stream."""
_CHECK = 10.0
"""Seconds between two checks whether the topic was recreated."""


@dataclass(slots=True)
class CopyCounts:
    """Counts for metrics."""

    written: int = 0
    """Latest events written, and removed."""
    positions: dict[int, int] = field(default_factory=dict)
    """The positions up to which this replica has copied; empty while another one does."""


async def _at_once() -> None:
    pass


class Copier:
    """Copies for as long as `run` runs."""

    def __init__(
        self,
        store: LatestStore,
        leases: Leases,
        options: LatestOptions,
        clock: Clock,
        counts: CopyCounts,
        topic: str,
        *,
        migrated: Callable[[], Awaitable[None]] = _at_once,
    ) -> None:
        """`migrated` returns once the database has its tables."""
        self._migrated = migrated
        self._store = store
        self._leases = leases
        self._kept = Kept(options.channels, options.deleted_types)
        self._interval = options.interval
        self._clock = clock
        self._counts = counts
        self._topic = topic
        self._failing = False
        self._shorter = 0
        self._behind: dict[int, int] = {}
        """Where partitions go on behind records that are missing."""

    async def run(self, bus: Bus) -> None:
        """Copy until cancelled, whenever this replica holds the lease."""
        await self._migrated()
        while True:
            try:
                async with self._leases.hold(LEASE) as lease:
                    await self._copy_while(lease, bus)
            except PositionLost as lost:
                logger.warning("lost position in publish topic", extra=self._fields(lost))
                if lost.earliest > lost.offset:  # the bounds of the topic need not show it, such as after a restore
                    self._behind[lost.partition] = lost.earliest
            except Stale as exc:
                logger.info("latest events copied by another replica", extra=self._fields(exc))
            except Shorter as exc:
                self._shorter += 1
                self._report(exc)
            except TrelayError as exc:
                self._report(exc)
            finally:
                self._counts.positions = {}
            await self._clock.sleep(_PAUSE)

    async def _copy_while(self, lease: Lease, bus: Bus) -> None:
        """Copy from the stored positions until the lease is lost, or the topic is another one."""
        epoch = await bus.epoch(self._topic)
        found = await bus.bounds(self._topic)
        bounds = {number: (max(first, self._behind.get(number, 0)), end) for number, (first, end) in found.items()}
        view = await self._store.begin(epoch, bounds, self._kept, shorter=self._shorter >= _SHORTER_CHECKS)
        self._shorter = 0
        self._behind.clear()
        positions = dict(enumerate(view.positions))
        check = self._clock.monotonic() + _CHECK
        self._counts.positions = positions
        async with bus.reader(self._topic, positions) as reader:
            while lease.held:
                if self._clock.monotonic() > check:
                    if await bus.epoch(self._topic) != epoch or len(await bus.bounds(self._topic)) != len(bounds):
                        return
                    check = self._clock.monotonic() + _CHECK
                records = await reader.read(_RECORDS, _IDLE)
                for batch in self._batches(records, positions, reader.positions):
                    if not lease.held:
                        return
                    await self._write(view, batch)
                    positions = self._counts.positions = batch.ends
                if len(records) < _BACKLOG:
                    await self._clock.sleep(self._interval)

    async def _write(self, view: View, batch: Batch) -> None:
        reach("latest.read")
        await self._store.write(view, batch)
        reach("latest.written")
        self._counts.written += len(batch.changes)
        if self._failing:
            self._failing = False
            logger.info("latest events copied again", extra={"component": "latest_events"})

    def _batches(self, records: Iterable[Record], before: dict[int, int], after: Mapping[int, int]) -> Iterator[Batch]:
        """Yield what was read from some positions to others, in batches of bounded size."""
        batch, now_ms = Batch(before), int(self._clock.time() * 1000)
        for record in records:
            batch.add(record, self._kept.change(record), now_ms)
            if batch.size >= _BATCH_BYTES:
                yield batch
                batch = Batch(batch.ends)
        batch.advance(after)
        if batch.after:
            yield batch

    def _report(self, exc: TrelayError) -> None:
        if not self._failing:
            self._failing = True
            logger.warning("latest events not copied; will retry", extra=self._fields(exc))

    def _fields(self, exc: Exception) -> dict[str, object]:
        return {"component": "latest_events", "topic": self._topic, "error": str(exc)}
