"""The tables of the latest events in PostgreSQL: short statements, each of which stands for itself."""

import logging
from collections.abc import Mapping

import asyncpg

from services.experience_api.latest.fitting import Fitted, Stored, fit
from services.experience_api.latest.ranges import ChannelRange
from services.experience_api.latest.subjects import Batch, Kept
from services.experience_api.latest.view import Page, Row, Shorter, Stale, View
from services.experience_api.wire.snapshot_cursor import Place
from shared.database.pool import ConnectionPool
from shared.runtime.failpoints import reach

logger = logging.getLogger(__name__)

_ROWS = 500
"""Of one page, and keys looked at before the first of them is sent."""
_LONGEST = 600.0
"""Seconds in which the events of channels are removed that are not kept any more."""
_LOCK = int.from_bytes(b"latest")

_VIEW = """
SELECT epoch, settings, generation, version, p.partition, p.position, p.copied_ms, p.missed
FROM trelay.latest_view LEFT JOIN trelay.latest_positions p ON true ORDER BY p.partition
"""
# The bytes of a row are known before its event is read from where PostgreSQL keeps large values.
_PAGE = """
SELECT channel, digest, generation, partition, "offset", event, size FROM (
    SELECT *, sum(size) OVER (ORDER BY channel, digest) - size AS before FROM (
        SELECT * FROM trelay.latest_events
        WHERE (channel, digest) > ($1, $2) AND channel >= $3 AND channel < $4
            AND ($5::text[] IS NULL OR channel = ANY($5::text[]) OR channel ~ $6)
        ORDER BY channel, digest LIMIT $7
    ) AS few
) AS sized WHERE before < $8 ORDER BY channel, digest
"""
_VERSION = "SELECT version FROM trelay.latest_view"
_SET_VIEW = """
INSERT INTO trelay.latest_view (only_row, epoch, settings, generation, version) VALUES (true, $1, $2, $3, $4)
ON CONFLICT (only_row) DO UPDATE SET epoch = excluded.epoch, settings = excluded.settings,
    generation = excluded.generation, version = excluded.version
"""
_SET_POSITIONS = """
INSERT INTO trelay.latest_positions (partition, position, copied_ms, missed)
SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[])
ON CONFLICT (partition) DO UPDATE SET position = excluded.position, copied_ms = excluded.copied_ms,
    missed = excluded.missed
"""
_CHANNELS = "SELECT DISTINCT channel FROM trelay.latest_events"
_DROP_CHANNELS = "DELETE FROM trelay.latest_events WHERE channel = ANY($1::text[])"
_DROP_PARTITIONS = "DELETE FROM trelay.latest_positions WHERE partition >= $1"

_GUARD = "SELECT true FROM trelay.latest_view WHERE version = $1 FOR UPDATE"
_MOVE = """
UPDATE trelay.latest_positions AS p SET position = n.after, copied_ms = greatest(p.copied_ms, n.copied_ms)
FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[]) AS n(partition, before, after, copied_ms)
WHERE p.partition = n.partition AND p.position = n.before
"""
# An event that was written already is as new as the one of the batch, or newer.
_PUT = """
INSERT INTO trelay.latest_events AS e (channel, digest, generation, partition, "offset", size, event)
SELECT channel, digest, $6, partition, "offset", length(event), event
FROM unnest($1::text[], $2::bytea[], $3::int[], $4::bigint[], $5::bytea[])
    AS n(channel, digest, partition, "offset", event)
ON CONFLICT (channel, digest) DO UPDATE SET generation = excluded.generation, partition = excluded.partition,
    "offset" = excluded."offset", size = excluded.size, event = excluded.event
WHERE (e.generation, e."offset") < (excluded.generation, excluded."offset")
"""
_DELETE = """
DELETE FROM trelay.latest_events AS e
USING unnest($1::text[], $2::bytea[], $3::bigint[]) AS n(channel, digest, "offset")
WHERE e.channel = n.channel AND e.digest = n.digest AND (e.generation, e."offset") < ($4, n."offset")
"""


class PostgresLatestEvents:
    """Reads the latest events, as `LatestEvents` says."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    async def view(self) -> View | None:
        async with self._pool.use() as connection:
            stored = await _stored(connection)
        return None if stored is None else stored.view

    async def page(self, within: ChannelRange, after: Place, page_bytes: int) -> Page:
        names = None if within.names is None else list(within.names)
        arguments = (*after, within.low, within.high, names, within.expression, _ROWS, page_bytes)
        async with self._pool.use() as connection:
            found = await connection.fetch(_PAGE, *arguments)
            # Only now: what has been set back since the rows were read has not changed them.
            version = await connection.fetchval(_VERSION)
        rows = [Row(Place(row[0], row[1]), row[2], row[3], row[4], row[5]) for row in found]
        complete = len(found) < _ROWS and sum(row[6] for row in found) < page_bytes
        return Page(rows, complete, version)


class PostgresLatestStore:
    """Writes the latest events, as `LatestStore` says."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    async def begin(self, epoch: str, bounds: Mapping[int, tuple[int, int]], kept: Kept, *, shorter: bool) -> View:
        async with self._pool.use() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            stored = await _stored(connection)
            fitted = fit(stored, epoch, bounds, kept.digest)
            if fitted.truncated and not shorter:
                raise Shorter(f"the publish topic appears truncated: it ends at {[end for _, end in bounds.values()]}")
            if stored is None or fitted.reason:
                await _set(connection, fitted, kept)
        if fitted.reason:
            fields = {"component": "latest_events", "reason": fitted.reason, "positions": fitted.stored.view.positions}
            logger.warning("latest events fitted to publish topic", extra=fields)
        return fitted.stored.view

    async def write(self, view: View, batch: Batch) -> None:
        async with self._pool.use() as connection, connection.transaction():
            if not await connection.fetchval(_GUARD, view.version):
                raise Stale("the latest events are of another version")
            await _move(connection, batch)
            reach("latest.moved")
            await _write_changes(connection, batch, view.generation)
            reach("latest.changed")


async def _move(connection: asyncpg.Connection, batch: Batch) -> None:
    moved = sorted(batch.after)
    before = [batch.before[partition] for partition in moved]
    after = [batch.after[partition] for partition in moved]
    copied_ms = [batch.copied_ms.get(partition, 0) for partition in moved]
    if await connection.execute(_MOVE, moved, before, after, copied_ms) != f"UPDATE {len(moved)}":
        raise Stale("the positions of the latest events have moved")


async def _write_changes(connection: asyncpg.Connection, batch: Batch, generation: int) -> None:
    changes = batch.changes.values()
    put = [change for change in changes if change.event is not None]
    gone = [change for change in changes if change.event is None]
    if put:
        await connection.execute(_PUT, *map(list, zip(*put, strict=True)), generation)
    if gone:
        channels, digests, _, offsets, _ = zip(*gone, strict=True)
        await connection.execute(_DELETE, list(channels), list(digests), list(offsets), generation)


async def _stored(connection: asyncpg.Connection) -> Stored | None:
    found = await connection.fetch(_VIEW)
    if not found:
        return None
    epoch, settings, generation, version = found[0][:4]
    rows = [row for row in found if row[4] is not None]
    view = View(
        epoch,
        generation,
        version,
        tuple(row[5] for row in rows),
        max((row[6] for row in rows), default=0),
        sum(row[7] for row in rows),
    )
    return Stored(view, settings, tuple(row[6] for row in rows), tuple(row[7] for row in rows))


async def _set(connection: asyncpg.Connection, fitted: Fitted, kept: Kept) -> None:
    stored = fitted.stored
    view = stored.view
    await connection.execute(_SET_VIEW, view.epoch, stored.settings, view.generation, view.version)
    await connection.execute(_DROP_PARTITIONS, len(view.positions))
    partitions = list(range(len(view.positions)))
    columns = (list(view.positions), list(stored.copied_ms), list(stored.missed))
    await connection.execute(_SET_POSITIONS, partitions, *columns)
    if fitted.other_settings:
        # They are not kept up to date any more. There may be many.
        await connection.execute("SET LOCAL statement_timeout = 0")
        names = [row[0] for row in await connection.fetch(_CHANNELS, timeout=_LONGEST)]
        dropped = [name for name in names if not kept.covers(name)]
        await connection.execute(_DROP_CHANNELS, dropped, timeout=_LONGEST)
