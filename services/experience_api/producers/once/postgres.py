"""The keys in PostgreSQL."""

from collections.abc import Sequence
from datetime import timedelta

import asyncpg

from services.experience_api.producers.once.keys import Key
from services.experience_api.producers.once.store import Found, KeyState
from services.experience_api.registry.protocol import Node
from shared.database.pool import ConnectionPool
from shared.errors import Fenced

_SWEPT_AT_ONCE = 10_000

_OPEN = "INSERT INTO trelay.push_writers (name, node, node_epoch) VALUES ($1, $2, $3)"

_ALIVE = """EXISTS (
    SELECT FROM trelay.leases
    WHERE leases.name = 'node/' || owner.node AND leases.epoch = owner.node_epoch AND leases.expires_at > now()
)"""

# A key that another transaction inserts at the same time is waited for, and then not in the snapshot of this one: then
# `held` is null, and the key is in progress.
#
# $1 writer, $2 its round, $3 and $4 digests and fingerprints, $5 the last round that the writer has committed.
_CLAIM = f"""
WITH mine AS (
    SELECT committed FROM trelay.push_writers WHERE name = $1 AND NOT closed FOR SHARE
),
asked AS (
    SELECT * FROM unnest($3::bytea[], $4::bytea[]) AS asked (digest, fingerprint)
),
claimed AS (
    INSERT INTO trelay.pushed_keys AS held (digest, fingerprint, writer, round_number)
    SELECT asked.digest, asked.fingerprint, $1, $2 FROM asked, mine ORDER BY asked.digest
    ON CONFLICT (digest) DO UPDATE SET
        fingerprint = excluded.fingerprint,
        writer = excluded.writer,
        round_number = excluded.round_number,
        claimed_at = now()
    WHERE EXISTS (
        SELECT FROM trelay.push_writers AS owner
        WHERE owner.name = held.writer AND owner.closed AND held.round_number > owner.committed
    )
    RETURNING held.digest
)
SELECT
    asked.digest,
    EXISTS (SELECT FROM mine) AS open,
    claimed.digest IS NOT NULL AS claimed,
    held.fingerprint,
    held.round_number <= CASE WHEN held.writer = $1 THEN $5 ELSE owner.committed END AS published,
    owner.name IS NOT NULL AND NOT owner.closed AND NOT {_ALIVE} AS abandoned
FROM asked
LEFT JOIN claimed ON claimed.digest = asked.digest
LEFT JOIN trelay.pushed_keys AS held ON held.digest = asked.digest
LEFT JOIN trelay.push_writers AS owner ON owner.name = held.writer
"""  # noqa: S608 -- constants

_RELEASE = "DELETE FROM trelay.pushed_keys WHERE digest = ANY($3::bytea[]) AND writer = $1 AND round_number = $2"
_COMMITTED = "UPDATE trelay.push_writers SET committed = greatest(committed, $2) WHERE name = $1 AND NOT closed"
_CLOSE = """
UPDATE trelay.push_writers SET committed = greatest(committed, $2), closed = true, closed_at = now()
WHERE name = $1 AND NOT closed
"""
_SWEEP = f"""
DELETE FROM trelay.pushed_keys WHERE digest IN (
    SELECT digest FROM trelay.pushed_keys
    WHERE claimed_at < now() - $1::interval
    LIMIT {_SWEPT_AT_ONCE} FOR UPDATE SKIP LOCKED
)
"""  # noqa: S608 -- constants
# No key is claimed for a writer once it is closed.
_SWEEP_WRITERS = "DELETE FROM trelay.push_writers WHERE closed AND closed_at < now() - $1::interval - interval '1 hour'"
_ABANDONED = f"SELECT name FROM trelay.push_writers AS owner WHERE NOT closed AND NOT {_ALIVE} LIMIT 100"  # noqa: S608
_FULL = "SELECT count(*) >= $1::bigint FROM (SELECT FROM trelay.pushed_keys LIMIT $1::bigint) AS kept"


class PostgresKeyStore:
    """A `KeyStore`."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    async def open(self, writer: str, node: Node) -> None:
        async with self._pool.use() as connection:
            await connection.execute(_OPEN, writer, node.name, node.epoch)

    async def claim(self, writer: str, round_number: int, keys: Sequence[Key], committed: int) -> list[KeyState]:
        digests, fingerprints = [key.digest for key in keys], [key.fingerprint for key in keys]
        async with self._pool.use() as connection:
            rows = await connection.fetch(_CLAIM, writer, round_number, digests, fingerprints, committed)
        if not all(row["open"] for row in rows):
            raise Fenced(f"writer {writer} of idempotency keys is closed")
        by_digest = {row["digest"]: row for row in rows}
        return [_state(key, by_digest[key.digest]) for key in keys]

    async def release(self, writer: str, round_number: int, keys: Sequence[Key]) -> None:
        async with self._pool.use() as connection:
            await connection.execute(_RELEASE, writer, round_number, [key.digest for key in keys])

    async def committed(self, writer: str, round_number: int) -> None:
        async with self._pool.use() as connection:
            await connection.execute(_COMMITTED, writer, round_number)

    async def close(self, writer: str, committed: int) -> None:
        async with self._pool.use() as connection:
            await connection.execute(_CLOSE, writer, committed)

    async def sweep(self, hours: float, limit: int) -> Found:
        kept = timedelta(hours=hours)
        async with self._pool.use() as connection:
            while int((await connection.execute(_SWEEP, kept)).rpartition(" ")[2]) == _SWEPT_AT_ONCE:
                pass
            await connection.execute(_SWEEP_WRITERS, kept)
            abandoned = await connection.fetch(_ABANDONED)
            full = await connection.fetchval(_FULL, limit)
        return Found([row["name"] for row in abandoned], bool(full))


def _state(key: Key, row: asyncpg.Record) -> KeyState:
    if row["claimed"]:
        return KeyState.CLAIMED
    if None not in {key.fingerprint, row["fingerprint"]} and key.fingerprint != row["fingerprint"]:
        return KeyState.DIFFERENT
    if row["published"]:
        return KeyState.PUBLISHED
    return KeyState.ABANDONED if row["abandoned"] else KeyState.IN_PROGRESS
