"""Deleting what is past its retention: the duty of whichever replica has the lease, done in small steps."""

import logging

from shared.bus.postgres.link import Link
from shared.errors import Unavailable
from shared.lease import Lease, Leases
from shared.runtime.clock import Clock
from shared.runtime.tasks import Tasks, cancelled

logger = logging.getLogger(__name__)

_LEASE = "bus/housekeeping"
_PAUSE = 5.0
_BREATH = 0.02
"""Seconds between two steps, so that nobody notices."""
_TOMBSTONES_KEPT_MS = 24 * 3_600_000
"""How long a reader may take to hear that a key of a compacted topic was deleted."""

# Times do not go back within a partition (see bus_commit), so what is old is a run from the earliest on. Some 2,000
# records a step: it takes milliseconds, and readers and writers are not held up.
_EXPIRED = """
SELECT partition.id, (
    SELECT max(last_offset) + 1 FROM (
        SELECT last_offset, written_ms, sum(records) OVER (ORDER BY last_offset) - records AS records_before
        FROM (
            SELECT * FROM trelay.bus_batches
            WHERE partition_id = partition.id AND last_offset >= partition.earliest_offset
            ORDER BY last_offset LIMIT 2000
        ) AS oldest
    ) AS counted
    WHERE records_before < 2000 AND written_ms < (extract(epoch FROM now()) * 1000)::bigint - topic.retention_ms
) AS below
FROM trelay.bus_topics AS topic JOIN trelay.bus_partitions AS partition ON partition.topic_id = topic.id
WHERE (
    SELECT written_ms FROM trelay.bus_batches
    WHERE partition_id = partition.id AND last_offset >= partition.earliest_offset ORDER BY last_offset LIMIT 1
) < (extract(epoch FROM now()) * 1000)::bigint - topic.retention_ms
"""
_TRIM = "SELECT trelay.bus_trim($1, $2)"
_FORGET_DELETED = """
DELETE FROM trelay.bus_latest
WHERE value IS NULL AND written_ms < (extract(epoch FROM now()) * 1000)::bigint - $1::bigint
"""


class Housekeeping:
    """One replica's readiness to do the duty."""

    def __init__(self, link: Link, leases: Leases, every: float, clock: Clock) -> None:
        """`every` are the seconds between two sweeps."""
        self._link = link
        self._leases = leases
        self._every = every
        self._clock = clock

    async def run(self) -> None:
        """Wait for the lease, and do the duty while it is ours; for ever."""
        while True:
            try:
                async with self._leases.hold(_LEASE) as lease:
                    await self._keep(lease)
            except Unavailable as exc:
                logger.debug("housekeeping waits: %s", exc)
            except Exception:
                logger.exception("housekeeping failed; it is tried again")
            await self._clock.sleep(_PAUSE)

    async def sweep(self) -> int:
        """Delete all that is past its retention now; return how many records that were.

        Raises:
            Unavailable: the server does not answer; the rest goes with the next sweep.
        """
        deleted = 0
        async with self._link.steering.use() as connection:
            await connection.execute(_FORGET_DELETED, _TOMBSTONES_KEPT_MS)
        while True:
            async with self._link.steering.use() as connection:
                expired = await connection.fetch(_EXPIRED)
            if not expired:
                return deleted
            for partition, below in expired:
                async with self._link.steering.use() as connection:
                    deleted += await connection.fetchval(_TRIM, partition, below)
                await self._clock.sleep(_BREATH)

    async def _keep(self, lease: Lease) -> None:
        async with Tasks() as tasks:
            sweeping = tasks.start("housekeeping of the bus", self._keep_sweeping())
            await lease.lost()
            await cancelled(sweeping)

    async def _keep_sweeping(self) -> None:
        while True:
            try:
                if deleted := await self.sweep():
                    logger.info("deleted %d records past their retention", deleted)
            except Unavailable as exc:
                logger.debug("housekeeping waits: %s", exc)
            except Exception:
                # Without it the disk fills up: whatever it was, the next sweep may go through.
                logger.exception("a sweep failed; the next one tries again")
            await self._clock.sleep(self._every)
