"""Deletes what is past its retention, in small steps; one replica at a time, which holds a lease for it."""

import logging

from shared.bus.postgres.pools import Pools
from shared.errors import Unavailable
from shared.lease import Lease, Leases
from shared.runtime.clock import Clock
from shared.runtime.tasks import Tasks, cancelled

logger = logging.getLogger(__name__)

LEASE = "bus/retention"
_PAUSE = 5.0
_STEP_INTERVAL = 0.02
"""Seconds between two steps, so that readers and writers are not delayed."""
_TOMBSTONE_RETENTION_MS = 24 * 3_600_000
"""How long a reader can be away and still learn that a key of a compacted topic was deleted."""

# Times do not decrease within a partition (see bus_commit), so expired batches are a run from the earliest on. A step
# deletes about 2,000 records: it takes milliseconds.
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
_DELETE_TOMBSTONES = """
DELETE FROM trelay.bus_latest
WHERE value IS NULL AND written_ms < (extract(epoch FROM now()) * 1000)::bigint - $1::bigint
"""


class RetentionCleaner:
    """Deletes expired records while this replica holds the lease."""

    def __init__(self, pools: Pools, leases: Leases, interval: float, clock: Clock) -> None:
        """`interval` in seconds, between two checks."""
        self._pools = pools
        self._leases = leases
        self._interval = interval
        self._clock = clock

    async def run(self) -> None:
        """Wait for the lease, and delete while this replica holds it; without end."""
        while True:
            try:
                async with self._leases.hold(LEASE) as lease:
                    await self._delete_while_held(lease)
            except Unavailable as exc:
                logger.debug("retention check postponed", extra={"component": "bus", "error": str(exc)})
            except Exception:
                logger.exception("retention check failed; retrying", extra=_retrying(_PAUSE))
            await self._clock.sleep(_PAUSE)

    async def delete_expired(self) -> int:
        """Delete all that is past its retention now; return the number of records.

        Raises:
            Unavailable: the database does not answer; the next check deletes the rest.
        """
        deleted = 0
        async with self._pools.control.use() as connection:
            await connection.execute(_DELETE_TOMBSTONES, _TOMBSTONE_RETENTION_MS)
        while True:
            async with self._pools.control.use() as connection:
                expired = await connection.fetch(_EXPIRED)
            if not expired:
                return deleted
            for partition, below in expired:
                async with self._pools.control.use() as connection:
                    deleted += await connection.fetchval(_TRIM, partition, below)
                await self._clock.sleep(_STEP_INTERVAL)

    async def _delete_while_held(self, lease: Lease) -> None:
        async with Tasks() as tasks:
            checking = tasks.start("check retention", self._check_at_interval())
            await lease.lost()
            await cancelled(checking)

    async def _check_at_interval(self) -> None:
        while True:
            try:
                if deleted := await self.delete_expired():
                    logger.info("deleted expired records", extra={"component": "bus", "count": deleted})
            except Unavailable as exc:
                logger.debug("retention check postponed", extra={"component": "bus", "error": str(exc)})
            except Exception:
                # Without retention the disk fills up, so an unexpected error must not end it.
                logger.exception("retention check failed; retrying", extra=_retrying(self._interval))
            await self._clock.sleep(self._interval)


def _retrying(seconds: float) -> dict[str, object]:
    return {"component": "bus", "retry_in_s": seconds}
