"""Notices that are stored for the node that holds a connection, in the transaction that they are about."""

import logging
from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import case, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.experience_api.registry.claim_statement import used
from services.experience_api.registry.notices import (
    ClaimLost,
    GrantChanged,
    Look,
    LossReason,
    Notice,
    decode,
    encode,
)
from shared.database.tables.clients import consumers
from shared.database.tables.connections import connection_notices, connections, extra_connections
from shared.errors import Malformed

logger = logging.getLogger(__name__)

CHANNEL = "trelay_connections"
"""The LISTEN channel of notices."""
_HELD = (connections, extra_connections)
# Where the caller does not hold the lock, the consumer was registered a moment ago. To wait here for its claim could be
# a deadlock.
_SEEN = text(f"""
    UPDATE trelay.consumers SET last_seen_at = now(), tokens = {used("CAST(:hashes AS bytea[])")}
    WHERE client_id IN (SELECT client_id FROM trelay.consumers WHERE client_id = :client_id FOR UPDATE SKIP LOCKED)
""")  # noqa: S608 -- the parts are constants


class Locked(NamedTuple):
    """The tokens of a locked consumer."""

    newest: bytes
    """The hash of its newest token."""
    tokens: dict[bytes, float]
    """The hashes of all its tokens, and when each was used last, in seconds since 1970: that of the newest at least."""
    previous: bytes | None
    """The hash of the one that the newest has replaced, while it is valid as well."""

    @property
    def valid(self) -> set[bytes]:
        """The hashes of its valid tokens."""
        return {*self.tokens} if self.previous is None else {*self.tokens, self.previous}


async def lock_consumer(connection: AsyncConnection, client_id: str) -> Locked | None:
    """Lock a consumer, and return its tokens; None if there is no such consumer."""
    row = consumers.c
    consumer = select(
        row.token_hash,
        row.tokens,
        func.extract("epoch", row.last_seen_at).label("seen"),
        case((row.previous_until > func.now(), row.previous_token_hash)).label("previous"),
    ).where(row.client_id == client_id)
    found = (await connection.execute(consumer.with_for_update())).first()
    if found is None:
        return None
    tokens = {bytes.fromhex(token): used_at for token, used_at in (found.tokens or {}).items()}
    if found.token_hash not in tokens:  # a replica of an earlier release has registered it, and ended the others
        tokens = {found.token_hash: float(found.seen)}
    return Locked(found.token_hash, tokens, found.previous)


async def tokens_in_use(connection: AsyncConnection, client_id: str) -> set[bytes]:
    """Return the hashes of the tokens that the client's claims were made with."""
    held = [select(table.c.token_hash).where(table.c.client_id == client_id) for table in _HELD]
    return set((await connection.execute(held[0].union(held[1]))).scalars())


async def revoke_claims(
    connection: AsyncConnection,
    client_id: str,
    reason: LossReason,
    *,
    kept: Collection[bytes] = (),
    only: Collection[UUID] | None = None,
) -> None:
    """Delete the client's claims and notify their holders. The caller holds the consumer's lock.

    Claims with the tokens that have the hashes `kept` are kept, and all but `only` if that is given. The days that the
    tokens of the others are valid begin now.
    """
    revoked = []
    for table in _HELD:
        deleted = delete(table).where(table.c.client_id == client_id)
        if kept:
            deleted = deleted.where(table.c.token_hash.not_in(kept))
        if only is not None:
            deleted = deleted.where(table.c.connection_id.in_(only))
        returned = deleted.returning(table.c.connection_id, table.c.node, table.c.token_hash)
        for row in (await connection.execute(returned)).all():
            notice = encode(ClaimLost(row.connection_id, reason))
            # Visible, and delivered, once the transaction has committed, and only then.
            await connection.execute(insert(connection_notices).values(node=row.node, notice=notice))
            await connection.execute(select(func.pg_notify(CHANNEL, notice)))
            revoked.append(row.token_hash)
    if revoked:
        await connection.execute(_SEEN, {"client_id": client_id, "hashes": revoked})


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
