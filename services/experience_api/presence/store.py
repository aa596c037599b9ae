"""The connections that the database has noted as come or left.

Triggers note each claim of a connection, and its end, in the transaction of either. So nothing is missed, however a
connection ends. The rows of one client have the order of its claims, which are made one after the other.
"""

from collections.abc import Sequence
from datetime import timedelta

import asyncpg

from services.experience_api.presence.sessions import Noted
from shared.database.pool import ConnectionPool
from shared.errors import Unavailable

_NOTED_FOR = timedelta(days=1)
"""How long the triggers note without a replica that publishes what they note."""

_CONTINUE = """
UPDATE trelay.presence_noting SET noted_until = now() + $1::interval WHERE noted_until > now() RETURNING true
"""
# The lock waits for claims that are being made, and later ones wait for it: each is noted by this transaction or by a
# trigger. It gives up before PostgreSQL looks for a deadlock, of which a claim could be the victim.
_LOCK = """
SET LOCAL lock_timeout = '200ms';
LOCK TABLE trelay.connections, trelay.extra_connections IN SHARE ROW EXCLUSIVE MODE;
DELETE FROM trelay.presence_log
"""
_BEGIN = """
WITH here AS (
    INSERT INTO trelay.presence_log (client_id, connection_id, kind, connected_at)
    SELECT client_id, connection_id, 'came', connected_at FROM trelay.connections
    UNION ALL
    SELECT client_id, connection_id, 'came', connected_at FROM trelay.extra_connections
)
INSERT INTO trelay.presence_noting (only_row, noted_until) VALUES (true, now() + $1::interval)
ON CONFLICT (only_row) DO UPDATE SET noted_until = excluded.noted_until
"""
_TAKE = """
SELECT id, client_id, connection_id, kind, connected_at, at FROM trelay.presence_log ORDER BY id LIMIT $1
"""
_NODES = """
SELECT name, epoch, expires_at <= now() - $1::interval AS ended FROM trelay.leases WHERE starts_with(name, 'node/')
"""
_DROP_KEYS = "DELETE FROM trelay.pushed_keys WHERE digest = ANY($1::bytea[])"
_FORGET = "DELETE FROM trelay.presence_log WHERE id = ANY($1::bigint[])"


Nodes = frozenset[tuple[str, int, bool]]
"""The leases of replicas: name, epoch, and whether it has ended."""


class PresenceStore:
    """The table of what was noted."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    async def begin(self) -> None:
        """Let the database note what comes and leaves, for a day from now, and what is there if it did not until now.

        Raises:
            Unavailable: the database does not answer, or connections are claimed all the time.
        """
        async with self._pool.use() as connection:
            if await connection.fetchval(_CONTINUE, _NOTED_FOR):
                return
            async with connection.transaction():
                try:
                    await connection.execute(_LOCK)
                except asyncpg.LockNotAvailableError as exc:
                    raise Unavailable("connections are being claimed") from exc
                await connection.execute(_BEGIN, _NOTED_FOR)

    async def noted(self, limit: int) -> Sequence[Noted]:
        """Return what was noted first."""
        async with self._pool.use() as connection:
            return [Noted(*row) for row in await connection.fetch(_TAKE, limit)]

    async def nodes(self, after: float) -> Nodes:
        """Return the leases of replicas, and which of them have ended so many seconds ago."""
        async with self._pool.use() as connection:
            return frozenset(tuple(row) for row in await connection.fetch(_NODES, timedelta(seconds=after)))

    async def drop_keys(self, digests: Sequence[bytes]) -> None:
        """Drop the keys of what was published, before the time of idempotency keys."""
        async with self._pool.use() as connection:
            await connection.execute(_DROP_KEYS, digests)

    async def forget(self, noted: Sequence[Noted]) -> None:
        """Forget what was published."""
        async with self._pool.use() as connection:
            await connection.execute(_FORGET, [each.id for each in noted])
