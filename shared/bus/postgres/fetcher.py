"""Fetches records and bounds for a reader."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg

from shared.bus.postgres.plan import BATCH_BYTES, Topic
from shared.bus.postgres.pools import Pools, TopicDeleted
from shared.bus.postgres.records import PostgresRecord, record_class
from shared.errors import PositionLost

# Batches from the one that holds the position on, as many as their bytes and the limit allow, then the records of each.
# The subqueries with ORDER BY and LIMIT keep the planner to index scans in exactly this order.
_RECORDS = """
SELECT wanted.number, batch.last_offset - batch.records + 1 + record.n - batch.first_n,
       batch.written_ms, record.key, record.value, record.headers
FROM unnest($1::int[], $2::int[], $3::bigint[]) AS wanted (number, id, position)
CROSS JOIN LATERAL (
    SELECT * FROM (
        SELECT *, sum(bytes) OVER (ORDER BY last_offset) - bytes AS bytes_before
        FROM (
            SELECT * FROM trelay.bus_batches
            WHERE partition_id = wanted.id AND last_offset >= wanted.position ORDER BY last_offset LIMIT $4
        ) AS next_batches
    ) AS counted
    WHERE bytes_before < $5
) AS batch
CROSS JOIN LATERAL (
    SELECT * FROM trelay.bus_records
    WHERE tx = batch.tx AND n < batch.first_n + batch.records
      AND n >= batch.first_n + greatest(0, wanted.position - (batch.last_offset - batch.records + 1))
    ORDER BY n
) AS record
LIMIT $4
"""

_LATEST = """
SELECT wanted.number, record.record_offset, record.written_ms, record.key, record.value, record.headers
FROM unnest($1::int[], $2::int[], $3::bigint[]) AS wanted (number, id, position)
CROSS JOIN LATERAL (
    SELECT * FROM (
        SELECT *, coalesce(sum(octet_length(value)) OVER (ORDER BY record_offset) - octet_length(value), 0)
                  AS bytes_before
        FROM (
            SELECT * FROM trelay.bus_latest
            WHERE partition_id = wanted.id AND record_offset >= wanted.position ORDER BY record_offset LIMIT $4
        ) AS next_records
    ) AS counted
    WHERE bytes_before < $5
) AS record
LIMIT $4
"""

_BOUNDS = "SELECT id, earliest_offset, end_offset FROM trelay.bus_partitions WHERE id = ANY ($1)"

_MAX_BYTES = 8 * 1024 * 1024
_PARTITION_MIN_BYTES = 2 * BATCH_BYTES


@dataclass(slots=True)
class Fetched:
    """The result of one fetch."""

    records: Sequence[PostgresRecord] = ()
    """Partition by partition, each in the order of offsets."""
    skipped_to: Mapping[int, int] = field(default_factory=dict)
    """Positions by partition, which may move up to here: no record is left before it."""
    at_end: bool = False
    """Whether there were no further records."""


class Fetcher:
    """Fetches from some partitions of a topic."""

    def __init__(self, topic: Topic, pools: Pools) -> None:
        self.topic = topic
        self._pools = pools
        self._query = _LATEST if topic.compact else _RECORDS
        self._record_class = record_class(topic.name)

    async def fetch(self, positions: Mapping[int, int], unchecked: frozenset[int], limit: int) -> Fetched:
        """Return the records at these positions and after them: about 8 MiB, or `limit` records, at most.

        `unchecked` are partitions whose position may be out of range.

        Raises:
            PositionLost: a position is before the earliest record or beyond the end.
            TopicDeleted: the topic does not exist any more.
            Unavailable: the database does not answer.
        """
        async with self._pools.reading.use() as connection:
            if self.topic.compact:
                return await self._latest(connection, positions, limit)
            return await self._log(connection, positions, unchecked, limit)

    async def _log(
        self, connection: asyncpg.Connection, positions: Mapping[int, int], unchecked: frozenset[int], limit: int
    ) -> Fetched:
        """Fetch from a log, which has no gaps except before the earliest offset."""
        share = max(_MAX_BYTES // len(positions), _PARTITION_MIN_BYTES)
        records = await self._select(connection, positions, limit, share)
        first = {}
        for number, run in runs(records, list(positions)):
            first[number], last = records[run.start].offset, records[run.stop - 1].offset
            if last - first[number] >= len(run):
                raise RuntimeError(
                    f"{self.topic.name}/{number}: records are missing between {first[number]} and {last}"
                )
        suspect = {
            number: position
            for number, position in positions.items()
            if number in unchecked or not records or first.get(number, position) != position
        }
        if suspect and await self._check(connection, suspect, first):
            return Fetched(records)
        # Bytes are counted in whole batches, and the position may be at the last record of the first one.
        at_end = len(records) < limit and _size(records) < share - BATCH_BYTES
        return Fetched(records, at_end=at_end)

    async def _check(
        self, connection: asyncpg.Connection, suspect: Mapping[int, int], first: Mapping[int, int]
    ) -> bool:
        """Check positions against the bounds; return whether records were committed after the query for them."""
        more = False
        for number, (earliest, end) in (await self._bounds(connection, suspect)).items():
            position = suspect[number]
            begin = first.get(number, position)
            if begin != position or not earliest <= position <= end:
                raise PositionLost(self.topic.name, number, position, max(earliest, begin))
            more = more or (number not in first and position < end)
        return more

    async def _latest(self, connection: asyncpg.Connection, positions: Mapping[int, int], limit: int) -> Fetched:
        """Fetch from a compacted topic, which has a gap wherever a key was overwritten."""
        # Before the records: what was committed by then, and is not among the records, was overwritten.
        bounds = await self._bounds(connection, positions)
        for number, position in positions.items():
            if position > bounds[number][1]:
                raise PositionLost(self.topic.name, number, position, bounds[number][0])
        records = await self._select(
            connection, positions, limit, max(_MAX_BYTES // len(positions), _PARTITION_MIN_BYTES)
        )
        if records:
            return Fetched(records)
        return Fetched(skipped_to={number: bounds[number][1] for number in positions}, at_end=True)

    async def _select(
        self, connection: asyncpg.Connection, positions: Mapping[int, int], limit: int, share: int
    ) -> list[PostgresRecord]:
        """Select the records. `share` are the bytes of one partition, exceeded by one batch or one record at most."""
        numbers = list(positions)
        ids = [self.topic.partitions[number] for number in numbers]
        offsets = list(positions.values())
        return await connection.fetch(self._query, numbers, ids, offsets, limit, share, record_class=self._record_class)

    async def _bounds(self, connection: asyncpg.Connection, numbers: Mapping[int, int]) -> dict[int, tuple[int, int]]:
        by_id = {self.topic.partitions[number]: number for number in numbers}
        rows = await connection.fetch(_BOUNDS, list(by_id))
        if len(rows) < len(by_id):
            raise TopicDeleted(f"topic {self.topic.name} does not exist any more")
        return {by_id[partition]: (earliest, end) for partition, earliest, end in rows}


def runs(records: Sequence[PostgresRecord], order: Sequence[int]) -> Iterator[tuple[int, range]]:
    """Return where the records of each partition begin and end, given the order of the partitions."""
    rank = {number: index for index, number in enumerate(order)}
    stop = len(records)
    while stop:
        number = records[stop - 1].partition
        start = bisect_left(records, rank[number], hi=stop, key=lambda record: rank[record.partition])
        yield number, range(start, stop)
        stop = start


def _size(records: Sequence[PostgresRecord]) -> int:
    total = 0
    for _, _, _, key, value, headers in records:
        total += len(key) + len(value or b"") + len(headers or b"")
    return total
