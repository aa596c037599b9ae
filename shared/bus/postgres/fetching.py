"""What a reader asks the server."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg

from shared.bus.postgres.link import Link, TopicGone
from shared.bus.postgres.plan import BATCH_BYTES, Topic
from shared.bus.postgres.records import StoredRecord, records_of
from shared.errors import PositionLost

# Batches from the one that holds the position on, as many as their bytes and the limit allow, then the records of each.
# The subqueries with an order and a limit are what keeps the planner to index scans in this very order.
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

_MOST_BYTES = 8 * 1024 * 1024
_LEAST_BYTES = 2 * BATCH_BYTES


@dataclass(slots=True)
class Found:
    """What one look gave."""

    records: Sequence[StoredRecord] = ()
    """Partition by partition, each in offset order."""
    passed: Mapping[int, int] = field(default_factory=dict)
    """Positions that may be moved up to here, because nothing lies before it any more."""
    at_end: bool = False
    """Whether nothing more was there."""


class Fetching:
    """Looks for what comes next in some partitions of a topic."""

    def __init__(self, topic: Topic, link: Link) -> None:
        self.topic = topic
        self._link = link
        self._query = _LATEST if topic.compact else _RECORDS
        self._record_class = records_of(topic.name)

    async def look(self, positions: Mapping[int, int], unchecked: frozenset[int], limit: int) -> Found:
        """Return what lies at these positions and after them: about 8 MiB, or `limit` records, at most.

        `unchecked` are partitions whose position may lie anywhere.

        Raises:
            PositionLost: a position lies before what is kept, or beyond the end.
            TopicGone, Unavailable: see there.
        """
        async with self._link.reading.use() as connection:
            if self.topic.compact:
                return await self._latest(connection, positions, limit)
            return await self._log(connection, positions, unchecked, limit)

    async def _log(
        self, connection: asyncpg.Connection, positions: Mapping[int, int], unchecked: frozenset[int], limit: int
    ) -> Found:
        """Look into a log, which has no gaps but what retention took."""
        share = max(_MOST_BYTES // len(positions), _LEAST_BYTES)
        records = await self._fetch(connection, positions, limit, share)
        first = {}
        for number, run in runs(records, list(positions)):
            first[number], last = records[run.start].offset, records[run.stop - 1].offset
            if last - first[number] >= len(run):
                raise RuntimeError(f"{self.topic.name}/{number}: of {first[number]} to {last} some are not there")
        doubtful = {
            number: position
            for number, position in positions.items()
            if number in unchecked or not records or first.get(number, position) != position
        }
        if doubtful and await self._examine(connection, doubtful, first):
            return Found(records)
        # Bytes are counted by whole batches, and of the first one the position may have passed all but the last record.
        at_end = len(records) < limit and _size(records) < share - BATCH_BYTES
        return Found(records, at_end=at_end)

    async def _examine(
        self, connection: asyncpg.Connection, doubtful: Mapping[int, int], first: Mapping[int, int]
    ) -> bool:
        """Check positions against the bounds; return whether something was committed after it was asked for."""
        more = False
        for number, (earliest, end) in (await self._bounds(connection, doubtful)).items():
            position = doubtful[number]
            begin = first.get(number, position)
            if begin != position or not earliest <= position <= end:
                raise PositionLost(self.topic.name, number, position, max(earliest, begin))
            more = more or (number not in first and position < end)
        return more

    async def _latest(self, connection: asyncpg.Connection, positions: Mapping[int, int], limit: int) -> Found:
        """Look into a compacted topic, which has a gap wherever a key was written anew."""
        # Asked before the records are: what was committed by then and is not among them will never be.
        bounds = await self._bounds(connection, positions)
        for number, position in positions.items():
            if position > bounds[number][1]:
                raise PositionLost(self.topic.name, number, position, bounds[number][0])
        records = await self._fetch(connection, positions, limit, max(_MOST_BYTES // len(positions), _LEAST_BYTES))
        if records:
            return Found(records)
        return Found(passed={number: bounds[number][1] for number in positions}, at_end=True)

    async def _fetch(
        self, connection: asyncpg.Connection, positions: Mapping[int, int], limit: int, share: int
    ) -> list[StoredRecord]:
        """`share` are the bytes of one partition; it gives one batch, or one record, more than that at most."""
        numbers = list(positions)
        ids = [self.topic.partitions[number] for number in numbers]
        offsets = list(positions.values())
        return await connection.fetch(self._query, numbers, ids, offsets, limit, share, record_class=self._record_class)

    async def _bounds(self, connection: asyncpg.Connection, numbers: Mapping[int, int]) -> dict[int, tuple[int, int]]:
        by_id = {self.topic.partitions[number]: number for number in numbers}
        rows = await connection.fetch(_BOUNDS, list(by_id))
        if len(rows) < len(by_id):
            raise TopicGone(f"topic {self.topic.name} does not exist any more")
        return {by_id[partition]: (earliest, end) for partition, earliest, end in rows}


def runs(records: Sequence[StoredRecord], order: Sequence[int]) -> Iterator[tuple[int, range]]:
    """Find where the records of each partition begin and end, given that partitions come in this order."""
    rank = {number: place for place, number in enumerate(order)}
    stop = len(records)
    while stop:
        number = records[stop - 1].partition
        start = bisect_left(records, rank[number], hi=stop, key=lambda record: rank[record.partition])
        yield number, range(start, stop)
        stop = start


def _size(records: Sequence[StoredRecord]) -> int:
    total = 0
    for _, _, _, key, value, headers in records:
        total += len(key) + len(value or b"") + len(headers or b"")
    return total
