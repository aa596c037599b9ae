"""The inbox in the tables `trelay.webhook_inboxes`, `trelay.webhook_deliveries` and `trelay.webhook_ids`.

Who stores locks the row of the source first. So positions have no gaps, become visible in order, and an id is looked up
while nobody else can add it.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager

import asyncpg

from services.system_api.sources.http.webhook.inbox.delivery import Delivery, Fill, Limits, Outcome, Waiting, plan
from shared.database.notified_store import NotifiedStore

CHANNEL = "trelay_webhooks"
"""The channel of notifications about stored deliveries; the payload is the source."""
_FORGET_CHUNK = 2000

_FILL = "epoch::text, position, waiting_rows, waiting_bytes, ids"
_LOCK = f"""
INSERT INTO trelay.webhook_inboxes (source) VALUES ($1)
ON CONFLICT (source) DO UPDATE SET source = excluded.source RETURNING {_FILL}
"""  # noqa: S608 -- constants of this module
_SEEN = f"SELECT {_FILL} FROM trelay.webhook_inboxes WHERE source = $1"  # noqa: S608 -- the same
_KNOWN = "SELECT digest FROM trelay.webhook_ids WHERE source = $1 AND digest = ANY($2::bytea[])"
_STORE = """
WITH given AS (
    SELECT * FROM unnest($2::bigint[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::bytea[])
        AS given (position, delivery_id, digest, content_type, headers, body)
), stored AS (
    INSERT INTO trelay.webhook_deliveries
        (source, position, received_at, delivery_id, content_type, headers, body, size)
    SELECT $1, position, clock_timestamp(), delivery_id, content_type, headers, body, octet_length(body) FROM given
    RETURNING size
), remembered AS (
    INSERT INTO trelay.webhook_ids (source, digest, received_at)
    SELECT $1, digest, clock_timestamp() FROM given WHERE digest IS NOT NULL
    RETURNING digest
)
UPDATE trelay.webhook_inboxes SET
    position = position + (SELECT count(*) FROM stored),
    waiting_rows = waiting_rows + (SELECT count(*) FROM stored),
    waiting_bytes = waiting_bytes + (SELECT coalesce(sum(size), 0) FROM stored),
    ids = ids + (SELECT count(*) FROM remembered)
WHERE source = $1
"""
_READ = """
SELECT position, extract(epoch FROM received_at)::float8 AS received_at, delivery_id, content_type, headers, body FROM (
    SELECT *, sum(size) OVER (ORDER BY position) - size AS before FROM (
        SELECT * FROM trelay.webhook_deliveries WHERE source = $1 AND position > $2 ORDER BY position LIMIT $3
    ) AS next
) AS bounded WHERE before < $4 ORDER BY position
"""
_REMOVE = """
WITH removed AS (
    DELETE FROM trelay.webhook_deliveries WHERE source = $1 AND position <= $2 RETURNING size
)
UPDATE trelay.webhook_inboxes SET
    waiting_rows = waiting_rows - (SELECT count(*) FROM removed),
    waiting_bytes = waiting_bytes - (SELECT coalesce(sum(size), 0) FROM removed)
WHERE source = $1
"""
_FORGET = """
WITH forgotten AS (
    DELETE FROM trelay.webhook_ids WHERE source = $1 AND digest = ANY(ARRAY(
        SELECT digest FROM trelay.webhook_ids WHERE source = $1
            AND ($2::float8 IS NULL OR received_at < clock_timestamp() - make_interval(secs => $2))
        ORDER BY received_at LIMIT $3
    )) RETURNING digest
), counted AS (
    UPDATE trelay.webhook_inboxes SET ids = ids - (SELECT count(*) FROM forgotten) WHERE source = $1
)
SELECT count(*) FROM forgotten
"""


class PostgresInbox(NotifiedStore):
    """An `Inbox` that all replicas share."""

    CHANNEL = CHANNEL
    CONNECTIONS = 8
    PURPOSE = "webhooks"

    async def store(self, source: str, deliveries: Sequence[Delivery], limits: Limits) -> list[Outcome]:
        """Store what is new."""
        async with self._pool.use() as connection, connection.transaction():
            fill = _fill(await connection.fetchrow(_LOCK, source))
            digests = [delivery.digest for delivery in deliveries if delivery.digest is not None]
            known = {bytes(row["digest"]) for row in await connection.fetch(_KNOWN, source, digests)} if digests else ()
            outcomes = plan(deliveries, known, fill, limits)
            stored = [each for each, outcome in zip(deliveries, outcomes, strict=True) if outcome is Outcome.STORED]
            if stored:
                await connection.execute(
                    _STORE,
                    source,
                    [fill.position + number for number in range(1, len(stored) + 1)],
                    [each.id for each in stored],
                    [each.digest for each in stored],
                    [each.content_type for each in stored],
                    [json.dumps(dict(each.headers)) for each in stored],
                    [each.body for each in stored],
                )
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, source)
        return outcomes

    async def read(self, source: str, after: int, limit: int, max_bytes: int) -> Sequence[Waiting]:
        """Return what waits."""
        async with self._pool.use() as connection:
            rows = await connection.fetch(_READ, source, after, limit, max_bytes)
        return [
            Waiting(
                row["position"],
                row["received_at"],
                Delivery(row["delivery_id"], row["body"], row["content_type"], json.loads(row["headers"])),
            )
            for row in rows
        ]

    async def remove(self, source: str, upto: int) -> None:
        """Remove what is published."""
        async with self._pool.use() as connection:
            await connection.execute(_REMOVE, source, upto)

    async def fill(self, source: str) -> Fill:
        """Return how much is in the inbox."""
        async with self._pool.use() as connection:
            row = await connection.fetchrow(_SEEN, source)
            return _fill(row if row is not None else await connection.fetchrow(_LOCK, source))

    async def forget(self, source: str, window: float, limit: int) -> int:
        """Forget ids, in chunks, so that none of them holds up who stores."""
        while await self._forget(source, window, limit=None) == _FORGET_CHUNK:
            pass
        early = 0
        while chunk := await self._forget(source, None, limit):
            early += chunk
        return early

    async def _forget(self, source: str, window: float | None, limit: int | None) -> int:
        """Forget a chunk of those older than `window` seconds, or of the oldest of more than `limit`."""
        async with self._pool.use() as connection, connection.transaction():
            fill = _fill(await connection.fetchrow(_LOCK, source))
            chunk = _FORGET_CHUNK if limit is None else min(_FORGET_CHUNK, fill.ids - limit)
            return 0 if chunk <= 0 else int(await connection.fetchval(_FORGET, source, window, chunk))

    def watch(self, source: str) -> AbstractContextManager[asyncio.Event]:
        """Watch a source."""
        return self._watchers.watch([source])


def _fill(row: asyncpg.Record | None) -> Fill:
    assert row is not None, "the statement returns one"
    return Fill(row["epoch"], row["position"], row["waiting_rows"], row["waiting_bytes"], row["ids"])
