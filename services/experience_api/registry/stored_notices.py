"""Notices that are stored for the node that holds a connection, in the transaction that they are about."""

import logging
from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.experience_api.registry.notices import (
    ClaimLost,
    GrantChanged,
    Look,
    LossReason,
    Notice,
    decode,
    encode,
)
from shared.database.connection_tables import extra_connections
from shared.database.tables import connection_notices, connections, consumers
from shared.errors import Malformed

logger = logging.getLogger(__name__)

CHANNEL = "trelay_connections"
"""The LISTEN channel of notices."""
_HELD = (connections, extra_connections)


async def lock_consumer(connection: AsyncConnection, client_id: str) -> bytes | None:
    """Lock a consumer, and return the hash of its token; None if there is no such consumer."""
    consumer = select(consumers.c.token_hash).where(consumers.c.client_id == client_id).with_for_update()
    found: bytes | None = (await connection.execute(consumer)).scalar_one_or_none()
    return found


async def revoke_claim(
    connection: AsyncConnection, client_id: str, reason: LossReason, kept: bytes | None = None
) -> None:
    """Delete the client's claims and notify their holders. The caller holds the consumer's lock.

    Claims with the token that has the hash `kept` are kept. The days that the token is valid begin now.
    """
    revoked = 0
    for table in _HELD:
        deleted = delete(table).where(table.c.client_id == client_id)
        if kept is not None:
            deleted = deleted.where(table.c.token_hash != kept)
        for row in (await connection.execute(deleted.returning(table.c.connection_id, table.c.node))).all():
            notice = encode(ClaimLost(row.connection_id, reason))
            # Visible, and delivered, once the transaction has committed, and only then.
            await connection.execute(insert(connection_notices).values(node=row.node, notice=notice))
            await connection.execute(select(func.pg_notify(CHANNEL, notice)))
            revoked += 1
    if revoked:
        # Not locked by the caller, it was registered a moment ago. To wait here for a claim could be a deadlock.
        unlocked = (
            select(consumers.c.client_id).where(consumers.c.client_id == client_id).with_for_update(skip_locked=True)
        )
        seen = update(consumers).where(consumers.c.client_id.in_(unlocked))
        await connection.execute(seen.values(last_seen_at=func.now()))


def decoded(payloads: Sequence[str]) -> list[Notice]:
    found = []
    for payload in payloads:
        try:
            found.append(decode(payload))
        except Malformed as exc:
            # A newer release may send notices that this one does not know.
            logger.warning("ignoring unknown notice of another replica", extra={"error": str(exc)})
    return found


async def tell_connections(connection: AsyncConnection, client_id: str, channels: Sequence[str]) -> None:
    """Store a notice of changed channels for the holders of connections. The caller holds the consumer's lock."""
    for table in _HELD:
        held = select(table.c.connection_id, table.c.node).where(table.c.client_id == client_id)
        for row in (await connection.execute(held)).all():
            await leave(connection, row.node, GrantChanged(row.connection_id, tuple(channels)))


async def leave(connection: AsyncConnection, node: str, notice: Notice) -> None:
    """Store a notice for a node, which is told to look once the transaction has committed."""
    await connection.execute(insert(connection_notices).values(node=node, notice=encode(notice)))
    await connection.execute(select(func.pg_notify(CHANNEL, encode(Look(node)))))
