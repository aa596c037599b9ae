"""Leases in the table `trelay.leases`, with the clock of the database."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager

from shared.database.notified_store import NotifiedStore
from shared.lease.store import Granted, Held, Taken, watched

CHANNEL = "trelay_leases"
"""The channel of notifications about released leases; see `PostgresLeaseStore.on_notification`."""

# clock_timestamp(), not now(): a statement that waited for the row must not count from before the wait.
# The NOT EXISTS avoids locking the row, and writing its page, while another owner has the lease.
_ACQUIRE = """
WITH granted AS (
    INSERT INTO trelay.leases AS held (name, owner, epoch, expires_at)
    SELECT $1, $2, 1, clock_timestamp() + make_interval(secs => $3)
    WHERE NOT EXISTS (
        SELECT FROM trelay.leases WHERE name = $1 AND owner <> $2 AND expires_at > clock_timestamp()
    )
    ON CONFLICT (name) DO UPDATE
    SET owner = $2, epoch = held.epoch + 1, expires_at = clock_timestamp() + make_interval(secs => $3)
    WHERE held.owner = $2 OR held.expires_at <= clock_timestamp()
    RETURNING epoch
)
SELECT epoch, 0::float8 AS expires_in FROM granted
UNION ALL
SELECT NULL, extract(epoch FROM expires_at - clock_timestamp())::float8
FROM trelay.leases WHERE name = $1 AND NOT EXISTS (SELECT FROM granted)
"""
_RENEW = """
UPDATE trelay.leases SET expires_at = clock_timestamp() + make_interval(secs => $4)
WHERE name = $1 AND owner = $2 AND epoch = $3 AND expires_at > clock_timestamp()
RETURNING true
"""
_REVIVE = """
UPDATE trelay.leases SET expires_at = clock_timestamp() + make_interval(secs => $4)
WHERE name = $1 AND owner = $2 AND epoch = $3
RETURNING true
"""
# The row stays, because its epoch must continue to grow.
_RELEASE = f"""
WITH released AS (
    UPDATE trelay.leases SET expires_at = clock_timestamp()
    WHERE name = $1 AND owner = $2 AND epoch = $3 RETURNING name
)
SELECT pg_notify('{CHANNEL}', name) FROM released
"""  # noqa: S608 -- a constant of this module
_HELD = """
SELECT name, owner, epoch, extract(epoch FROM expires_at - clock_timestamp())::float8 AS expires_in
FROM trelay.leases WHERE starts_with(name, $1) AND expires_at > clock_timestamp() ORDER BY name COLLATE "C"
"""


class PostgresLeaseStore(NotifiedStore):
    """A `LeaseStore` that all replicas share."""

    CHANNEL = CHANNEL
    CONNECTIONS = 2
    PURPOSE = "leases"

    async def acquire(self, name: str, owner: str, ttl: float) -> Granted | Taken:
        """Take a lease that is free, expired or the owner's own."""
        async with self._pool.use() as connection:
            row = await connection.fetchrow(_ACQUIRE, name, owner, ttl)
        if row is None:  # another replica has created the row at the same moment
            return Taken(ttl)
        return Taken(row["expires_in"]) if row["epoch"] is None else Granted(row["epoch"])

    async def renew(self, name: str, owner: str, epoch: int, ttl: float) -> bool:
        """Extend a lease to `ttl` seconds from now."""
        async with self._pool.use() as connection:
            return await connection.fetchval(_RENEW, name, owner, epoch, ttl) is not None

    async def revive(self, name: str, owner: str, epoch: int, ttl: float) -> bool:
        """Renew a lease although it may have expired."""
        async with self._pool.use() as connection:
            return await connection.fetchval(_REVIVE, name, owner, epoch, ttl) is not None

    async def release(self, name: str, owner: str, epoch: int) -> None:
        """Release a lease."""
        async with self._pool.use() as connection:
            await connection.execute(_RELEASE, name, owner, epoch)

    async def held(self, prefix: str) -> Sequence[Held]:
        """Return the leases that are held now."""
        async with self._pool.use() as connection:
            rows = await connection.fetch(_HELD, prefix)
        return [Held(row["name"], row["owner"], row["epoch"], row["expires_in"]) for row in rows]

    def watch(self, name: str) -> AbstractContextManager[asyncio.Event]:
        """Watch a lease."""
        return self._watchers.watch([name])

    def _keys_of(self, payload: str) -> Sequence[str]:
        return watched(payload)
