"""Registers clients in PostgreSQL: which tokens of a client are valid from then on."""

from datetime import timedelta
from typing import Any

from sqlalchemy import cast, func, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.experience_api import refusals
from services.experience_api.refusals import Refused
from services.experience_api.registry.notices import LossReason
from services.experience_api.registry.stored_notices import Locked, lock_consumer, revoke_claims, tokens_in_use
from services.experience_api.registry.tokens import TokenClaims, kept_tokens
from shared.database.tables.clients import clients, consumers


async def registered(connection: AsyncConnection, claims: TokenClaims, overlap: float, secret_hash: str | None) -> bool:
    """Store a new token, in a transaction of the caller; return False if it must be tried again, in another one.

    Raises:
        Refused: as `Consumers.register`.
    """
    before = await lock_consumer(connection, claims.client_id)
    # It may have been disabled, or have got another secret, while its secret was compared.
    enabled = select(clients.c.max_connections).where(clients.c.client_id == claims.client_id, ~clients.c.disabled)
    if secret_hash is not None:
        enabled = enabled.where(clients.c.secret_hash == secret_hash)
    limit = (await connection.execute(enabled.with_for_update(read=True))).scalar_one_or_none()
    if limit is None:
        raise Refused(refusals.WRONG_CREDENTIALS)
    tokens = {} if limit == 1 else await _kept(connection, claims.client_id, before, limit)
    previous = before.newest if before is not None and overlap and limit == 1 else None
    values: dict[str, Any] = {
        "token_hash": claims.token_hash,
        "registered_at": func.now(),
        "last_seen_at": func.now(),
        "previous_token_hash": previous,
        "previous_until": None if previous is None else func.now() + timedelta(seconds=overlap),
        "tokens": None if limit == 1 else _stored(tokens, claims.token_hash),
    }
    client_id = claims.client_id
    if before is not None:
        await connection.execute(update(consumers).where(consumers.c.client_id == client_id).values(values))
    else:
        first = insert(consumers).values(client_id=client_id, **values).on_conflict_do_nothing()
        if not (await connection.execute(first.returning(consumers.c.client_id))).all():
            return False  # another registration was the first: its token may be one to keep
    kept = tokens if previous is None else (previous,)
    await revoke_claims(connection, client_id, LossReason.REPLACED, kept=kept)
    return True


async def _kept(
    connection: AsyncConnection, client_id: str, before: Locked | None, max_connections: int
) -> dict[bytes, float]:
    """Return which tokens of a client that may have several connections stay valid beside a new one."""
    if before is None:
        return {}
    known = dict(before.tokens)
    if before.previous is not None:
        known.setdefault(before.previous, before.tokens[before.newest])
    return kept_tokens(known, await tokens_in_use(connection, client_id), max_connections)


def _stored(tokens: dict[bytes, float], newest: bytes) -> Any:
    kept = cast({each.hex(): at for each, at in tokens.items()}, JSONB)
    return kept.op("||")(func.jsonb_build_object(newest.hex(), func.extract("epoch", func.now())))
