"""Creates topics, checks those that exist, and looks them up."""

from collections.abc import Iterable, Mapping

from shared.bus.postgres.plan import Topic
from shared.bus.postgres.pools import Pools
from shared.bus.protocol import TopicOptions
from shared.errors import SettingsError, Unavailable

_MS_AN_HOUR = 3_600_000

_CREATE = """
WITH created AS (
    INSERT INTO trelay.bus_topics (name, epoch, partitions, compact, retention_ms)
    VALUES ($1, replace(gen_random_uuid()::text, '-', ''), $2, $3, $4)
    ON CONFLICT (name) DO NOTHING
    RETURNING id
)
INSERT INTO trelay.bus_partitions (topic_id, number) SELECT id, generate_series(0, $2 - 1) FROM created
"""
_SELECT = """
SELECT name, epoch, compact, retention_ms,
       (SELECT array_agg(id ORDER BY number) FROM trelay.bus_partitions WHERE topic_id = topic.id) AS partitions
FROM trelay.bus_topics AS topic WHERE name = ANY ($1)
"""
_BOUNDS = """
SELECT number, earliest_offset, end_offset
FROM trelay.bus_topics AS topic JOIN trelay.bus_partitions ON topic_id = topic.id WHERE name = $1
"""

# Batches of a partition are written in the order of their times, so a binary search over the offsets finds the first
# one that is as late, with some thirty look-ups in the primary key. In each step, all records below `low` are older
# than $2, and none from `high` on is. A compacted topic has no batches, and is read from its earliest offset.
_OFFSETS_AT = """
WITH RECURSIVE search AS (
    SELECT number, partition.id, earliest_offset AS low,
           CASE WHEN topic.compact THEN earliest_offset ELSE end_offset END AS high
    FROM trelay.bus_topics AS topic JOIN trelay.bus_partitions AS partition ON topic_id = topic.id WHERE name = $1
    UNION ALL
    SELECT number, id,
           CASE WHEN batch.written_ms < $2 THEN batch.last_offset + 1 ELSE low END,
           CASE WHEN batch.written_ms < $2 THEN high
                ELSE least((low + high) / 2, batch.last_offset - batch.records + 1) END
    FROM search
    LEFT JOIN LATERAL (
        SELECT last_offset, records, written_ms
        FROM trelay.bus_batches
        WHERE partition_id = search.id AND last_offset >= (search.low + search.high) / 2
        ORDER BY last_offset LIMIT 1
    ) AS batch ON true
    WHERE low < high
)
SELECT number, greatest(low, high) FROM search WHERE low >= high
"""


class Topics:
    """The topics of one bus, cached until they are invalidated."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._cached: dict[str, Topic] = {}

    async def ensure(self, wanted: Iterable[TopicOptions]) -> None:
        """Do what `Bus.ensure_topics` says."""
        by_name = {options.name: options for options in wanted}
        async with self._pools.control.use() as connection:
            for options in by_name.values():
                retention = _retention(options)
                await connection.execute(_CREATE, options.name, options.partitions, options.compact, retention)
            rows = await connection.fetch(_SELECT, list(by_name))
        faults = []
        for row in rows:
            options = by_name[row["name"]]
            found = _differences(options, len(row["partitions"]), compact=row["compact"], kept=row["retention_ms"])
            if found:
                faults.append(f"topic {options.name}: {'; '.join(found)}")
        if faults:
            raise SettingsError("\n".join(faults))

    async def get(self, name: str) -> Topic:
        """Return a topic, from the cache if it is there.

        Raises:
            Unavailable: it does not exist, or the server does not answer.
        """
        return self._cached.get(name) or await self.refresh(name)

    async def refresh(self, name: str) -> Topic:
        """Return a topic as it is now. Raises what `get` does."""
        self._cached.pop(name, None)
        async with self._pools.control.use() as connection:
            row = await connection.fetchrow(_SELECT, [name])
        if row is None:
            raise Unavailable(f"topic {name} does not exist")
        topic = self._cached[name] = Topic(name, row["epoch"], row["compact"], tuple(row["partitions"]))
        return topic

    def invalidate(self, names: Iterable[str]) -> None:
        """Remove topics from the cache."""
        for name in names:
            self._cached.pop(name, None)

    async def bounds(self, name: str) -> Mapping[int, tuple[int, int]]:
        """Return the earliest offset and the end of each partition. Raises what `get` does."""
        async with self._pools.control.use() as connection:
            rows = await connection.fetch(_BOUNDS, name)
        if not rows:
            raise Unavailable(f"topic {name} does not exist")
        return {number: (earliest, end) for number, earliest, end in rows}

    async def offsets_at(self, name: str, timestamp_ms: int) -> Mapping[int, int]:
        """Return the first offset at a time of each partition. Raises what `get` does."""
        async with self._pools.control.use() as connection:
            rows = await connection.fetch(_OFFSETS_AT, name, timestamp_ms)
        if not rows:
            raise Unavailable(f"topic {name} does not exist")
        return {number: offset for number, offset in rows}  # noqa: C416 -- dict(rows) would take each row for a mapping


def _retention(options: TopicOptions) -> int | None:
    if options.compact or options.retention_hours is None:
        return None
    return int(options.retention_hours * _MS_AN_HOUR)


def _differences(options: TopicOptions, partitions: int, *, compact: bool, kept: int | None) -> list[str]:
    """Describe how an existing topic differs from the settings, by the names in `TopicOptions`."""
    found = []
    if partitions != options.partitions:
        found.append(f"partitions is {partitions}, the settings say {options.partitions}")
    if compact != options.compact:
        found.append(f"compact is {compact}, the settings say {options.compact}")
    elif kept != _retention(options):
        hours = None if kept is None else kept / _MS_AN_HOUR
        found.append(f"retention_hours is {hours}, the settings say {options.retention_hours}")
    return found
