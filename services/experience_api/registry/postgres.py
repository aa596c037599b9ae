"""The registry in PostgreSQL.

Locks are taken in one order, the consumer's, the client's, the connection's, so that no two of these statements wait
for one another.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import RowMapping, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.experience_api import refusals
from services.experience_api.refusals import Refusal, Refused
from services.experience_api.registry import statements
from services.experience_api.registry.notices import Lost, Notice, Why, decode, encode
from services.experience_api.registry.protocol import Claim, Client, Hear, Held, Node, Wish
from services.experience_api.tokens import SigningKey, TokenClaims
from shared.clock import SYSTEM_CLOCK, Clock
from shared.database.connections import Connections
from shared.database.errors import database_errors
from shared.database.listener import Listener
from shared.database.options import DatabaseOptions
from shared.database.tables import clients, connections, consumers, signing_keys
from shared.errors import Malformed, Unavailable

logger = logging.getLogger(__name__)

CHANNEL = "trelay_connections"
"""Where notices are heard."""

_TRIES = 3
_HOT = 4
"""Connections for finding clients, claims and releases, beside those of the engine."""
_KEY = "database"
"""What tokens call the key that is kept here."""


class PostgresRegistry:
    """A `Registry` in the tables of `shared.database`."""

    def __init__(self, engine: AsyncEngine, options: DatabaseOptions, clock: Clock = SYSTEM_CLOCK) -> None:
        """Use an engine, and a connection beside it to hear with."""
        self._engine = engine
        # Without the round trips of BEGIN and COMMIT, for statements that are a transaction each.
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")
        # Who comes, comes in crowds, and whoever likes can ask: by hand, that takes a tenth of the processor's time.
        self._hot = Connections(options, size=_HOT, purpose="claims")
        self._options = options
        self._place = f"registrations in {options.place}"
        self._clock = clock
        self._trouble: str | None = "not listening"

    async def add(self, client: Client) -> bool:
        values = {
            "client_id": client.client_id,
            "secret_hash": client.secret_hash,
            "channels": list(client.channels),
            "may_send": client.may_send,
            "loopback_only": client.loopback_only,
            "disabled": client.disabled,
            "note": client.note,
        }
        statement = insert(clients).values(values).on_conflict_do_nothing().returning(clients.c.client_id)
        return bool(await self._rows(statement))

    async def find(self, client_id: str) -> Client | None:
        async with self._hot.use() as connection:
            row = await connection.fetchrow(statements.FIND, client_id)
        return None if row is None else _client(row)

    async def all(self) -> list[Client]:
        return [_client(row) for row in await self._rows(select(clients).order_by(clients.c.client_id))]

    async def disable(self, client_id: str) -> bool:
        with database_errors(self._place):
            async with self._engine.begin() as connection:
                await _lock(connection, client_id)
                changed = await connection.execute(
                    update(clients).where(clients.c.client_id == client_id).values(disabled=True)
                )
                await _take_away(connection, client_id, Why.DISABLED)
                return changed.rowcount > 0

    async def enable(self, client_id: str) -> bool:
        statement = update(clients).where(clients.c.client_id == client_id).values(disabled=False)
        return bool(await self._rows(statement.returning(clients.c.client_id)))

    async def register(self, claims: TokenClaims) -> None:
        fresh = {"token_hash": claims.token_hash, "registered_at": func.now(), "last_seen_at": func.now()}
        # Only an enabled client: it may have been disabled while its secret was compared.
        enabled = select(clients.c.client_id).where(clients.c.client_id == claims.client_id, ~clients.c.disabled)
        with database_errors(self._place):
            async with self._engine.begin() as connection:
                await _lock(connection, claims.client_id)
                if not (await connection.execute(enabled.with_for_update(read=True))).all():
                    raise Refused(refusals.WRONG_CREDENTIALS)
                await connection.execute(
                    insert(consumers)
                    .values(client_id=claims.client_id, **fresh)
                    .on_conflict_do_update(index_elements=[consumers.c.client_id], set_=fresh)
                )
                await _take_away(connection, claims.client_id, Why.REPLACED)

    async def forget(self, client_id: str) -> bool:
        with database_errors(self._place):
            async with self._engine.begin() as connection:
                await _lock(connection, client_id)
                await _take_away(connection, client_id, Why.REMOVED)
                gone = await connection.execute(delete(consumers).where(consumers.c.client_id == client_id))
                return gone.rowcount > 0

    async def signing_key(self, fresh: SigningKey) -> SigningKey:
        # One key for ever: of two replicas that start together, both must come to know the same.
        oldest = select(signing_keys).order_by(signing_keys.c.created_at, signing_keys.c.key_id).limit(1)
        if not (rows := await self._rows(oldest)):
            await self._rows(insert(signing_keys).values(key_id=_KEY, secret=fresh.secret).on_conflict_do_nothing())
            rows = await self._rows(oldest)
        return SigningKey(rows[0]["key_id"], rows[0]["secret"])

    async def claim(self, wish: Wish, instead_of: UUID | None = None) -> Claim | Held:
        # Who claims at the same moment may be committed too late for us to see, and early enough to be in our way.
        for _ in range(_TRIES):
            verdict = await self._claim(wish, instead_of)
            if verdict is not None:
                return verdict
        raise Unavailable(f"{self._place}: the claim of {wish.claims.client_id} changes hands too fast")

    async def invalid(self, tokens: Sequence[TokenClaims], good_for_days: float) -> dict[TokenClaims, Refusal]:
        clients, hashes = [token.client_id for token in tokens], [token.token_hash for token in tokens]
        async with self._hot.use() as connection:
            rows = await connection.fetch(statements.INVALID, clients, hashes, timedelta(days=good_for_days))
        found = {TokenClaims(row["client_id"], row["token_hash"]): _fault(row) for row in rows}
        return {token: refusal for token, refusal in found.items() if refusal is not None}

    async def release(self, client_id: str, connection_id: UUID) -> None:
        async with self._hot.use() as connection:
            await connection.execute(statements.RELEASE, client_id, connection_id)

    async def held_by(self, node: Node) -> dict[UUID, str]:
        async with self._hot.use() as connection:
            rows = await connection.fetch(statements.HELD_BY, node.name, node.epoch)
        return {row["connection_id"]: row["client_id"] for row in rows}

    async def settle(self) -> int:
        async with self._hot.use() as connection:
            settled = await connection.fetch(statements.SETTLE)
            await connection.execute(statements.FORGET_NODES)
        return len(settled)

    def close(self) -> None:
        """Drop the connections that are not in use; the engine is somebody else's."""
        self._hot.drop_idle()

    @property
    def trouble(self) -> str | None:
        return self._trouble

    async def tell(self, notice: Notice) -> None:
        await self._rows(select(func.pg_notify(CHANNEL, encode(notice))))

    @asynccontextmanager
    async def hearing(self, hear: Hear) -> AsyncIterator[None]:
        def heard(payload: str | None) -> None:
            try:
                hear(None if payload is None else decode(payload))
            except Malformed as exc:
                # A newer release may say what this one does not know.
                logger.warning("a notice of another replica was not understood: %s", exc)

        def tell(trouble: str | None) -> None:
            self._trouble = trouble

        async with Listener.opened(self._options, {CHANNEL: heard}, tell=tell, clock=self._clock):
            yield

    async def _claim(self, wish: Wish, instead_of: UUID | None) -> Claim | Held | None:
        async with self._hot.use() as connection:
            row = await connection.fetchrow(
                statements.CLAIM,
                wish.claims.client_id,
                wish.claims.token_hash,
                wish.connection_id,
                wish.node.name,
                wish.node.epoch,
                wish.remote,
                wish.loopback,
                timedelta(days=wish.good_for_days),
                instead_of,
                CHANNEL,
                "" if instead_of is None else encode(Lost(instead_of, Why.TAKEN_OVER)),
            )
        return _verdict(wish, row)

    async def _rows(self, statement: Any) -> Sequence[RowMapping]:
        with database_errors(self._place):
            async with self._single.connect() as connection:
                result = await connection.execute(statement)
                return result.mappings().all() if result.returns_rows else ()


async def _lock(connection: AsyncConnection, client_id: str) -> None:
    await connection.execute(select(consumers.c.client_id).where(consumers.c.client_id == client_id).with_for_update())


async def _take_away(connection: AsyncConnection, client_id: str, why: Why) -> None:
    """Delete the client's claim, and tell its holder. The consumer is locked by now."""
    taken = delete(connections).where(connections.c.client_id == client_id).returning(connections.c.connection_id)
    for row in (await connection.execute(taken)).all():
        # Heard once the transaction has committed, and only then.
        await connection.execute(select(func.pg_notify(CHANNEL, encode(Lost(row.connection_id, why)))))


def _client(row: asyncpg.Record | RowMapping) -> Client:
    return Client(
        row["client_id"],
        row["secret_hash"],
        tuple(row["channels"]),
        may_send=row["may_send"],
        loopback_only=row["loopback_only"],
        disabled=row["disabled"],
        note=row["note"],
    )


def _fault(row: asyncpg.Record) -> Refusal | None:
    if not row["known"]:
        return refusals.TOKEN_REFUSED
    if row["disabled"]:
        return refusals.CLIENT_DISABLED
    return None if row["good"] else refusals.TOKEN_EXPIRED


def _verdict(wish: Wish, row: asyncpg.Record | None) -> Claim | Held | None:
    """Say what a claim came to; None where somebody else's is not to be seen yet."""
    if row is None:
        raise Refused(refusals.TOKEN_REFUSED)
    if row["disabled"]:
        raise Refused(refusals.CLIENT_DISABLED)
    if row["loopback_only"] and not wish.loopback:
        raise Refused(refusals.LOOPBACK_ONLY)
    if not row["good"]:
        raise Refused(refusals.TOKEN_EXPIRED)
    if not row["leased"]:
        raise Refused(refusals.UNAVAILABLE, "this replica has lost its lease")
    if row["epoch"] is not None:
        channels, may_send = tuple(row["channels"]), row["may_send"]
        return Claim(wish.claims.client_id, wish.connection_id, row["epoch"], channels, may_send=may_send)
    return None if row["holder"] is None else Held(row["holder"], row["holder_node"])
