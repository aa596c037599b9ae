"""The registry in PostgreSQL.

Locks are taken in one order, consumer, client, connection, so that these statements never deadlock.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from operator import itemgetter
from typing import Self
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from services.experience_api.refusals import Refusal
from services.experience_api.registry import claim_statement, statements
from services.experience_api.registry.clients import Consumer, Ending
from services.experience_api.registry.notices import ClaimLost, LossReason, Notice, encode
from services.experience_api.registry.protocol import Claim, Held, Node, OnNotice
from services.experience_api.registry.rows import consumers_of, refusal_of, verdict_of
from services.experience_api.registry.stored_clients import StoredClients
from services.experience_api.registry.stored_notices import CHANNEL, decoded, leave, lock_consumer, revoke_claims
from services.experience_api.registry.stored_tokens import registered
from services.experience_api.registry.tokens import SigningKey, TokenClaims
from shared.database.engine import create_engine
from shared.database.engine_errors import engine_errors
from shared.database.listener import Listener
from shared.database.options import DatabaseOptions
from shared.database.tables.clients import consumers, signing_keys
from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK, Clock

_TRIES = 3
_KEY = "database"
"""The id, in tokens, of the key stored here."""


class PostgresRegistry(StoredClients):
    """A `Registry` in the tables of `shared.database`."""

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, options: DatabaseOptions, clock: Clock = SYSTEM_CLOCK, engine: AsyncEngine | None = None
    ) -> AsyncIterator[Self]:
        """Open a registry, which connects at its first use; without an engine it has one of its own."""
        own = engine or create_engine(options)
        registry = cls(own, options, clock)
        try:
            yield registry
        finally:
            registry.close()
            if engine is None:
                await own.dispose()

    async def register(self, claims: TokenClaims, overlap: float = 0.0, *, secret_hash: str | None = None) -> None:
        for _ in range(_TRIES):
            with engine_errors(self._place):
                async with self._engine.begin() as connection:
                    if await registered(connection, claims, overlap, secret_hash):
                        return
        raise Unavailable(f"{self._place}: client {claims.client_id} is removed again and again")

    async def end_overlaps(self) -> int:
        ended = consumers.c.previous_until <= func.now()
        forget = {"previous_token_hash": None, "previous_until": None}
        async with self._pool.use() as connection:  # asked for every second
            found = await connection.fetch(statements.ENDED_OVERLAPS)
        for (client_id,) in found:
            with engine_errors(self._place):
                async with self._engine.begin() as transaction:
                    # Locked first: a claim with the previous token that was in progress is visible from here on.
                    current = await lock_consumer(transaction, client_id)
                    await transaction.execute(
                        update(consumers).where(consumers.c.client_id == client_id, ended).values(forget)
                    )
                    if current is not None:
                        await revoke_claims(transaction, client_id, LossReason.REPLACED, kept=current.valid)
        return len(found)

    async def consumers(
        self, after: str = "", limit: int | None = None, client_id: str | None = None
    ) -> list[Consumer]:
        async with self._pool.use() as connection:
            return consumers_of(await connection.fetch(statements.CONSUMERS, after, limit, client_id))

    async def unregister(self, client_id: str) -> bool:
        with engine_errors(self._place):
            async with self._engine.begin() as connection:
                await lock_consumer(connection, client_id)
                await revoke_claims(connection, client_id, LossReason.REMOVED)
                deleted = await connection.execute(delete(consumers).where(consumers.c.client_id == client_id))
                return deleted.rowcount > 0

    async def time(self) -> float:
        async with self._pool.use() as connection:
            seconds: float = await connection.fetchval(statements.TIME)
        return seconds

    async def use_ticket(self, ticket_hash: bytes, expires: float) -> bool:
        async with self._pool.use() as connection:
            return await connection.fetchrow(statements.USE_TICKET, ticket_hash, expires) is not None

    async def signing_key(self, fresh: SigningKey) -> SigningKey:
        # The oldest key stays: two replicas that start together must both get the same one.
        oldest = select(signing_keys).order_by(signing_keys.c.created_at, signing_keys.c.key_id).limit(1)
        if not (rows := await self._rows(oldest)):
            await self._rows(insert(signing_keys).values(key_id=_KEY, secret=fresh.secret).on_conflict_do_nothing())
            rows = await self._rows(oldest)
        return SigningKey(rows[0]["key_id"], rows[0]["secret"])

    async def claim(
        self,
        claims: TokenClaims,
        connection_id: UUID,
        node: Node,
        *,
        remote: str,
        loopback: bool,
        good_for_days: float,
        instead_of: UUID | None = None,
    ) -> Claim | Held:
        arguments = (
            claims.client_id,
            claims.token_hash,
            connection_id,
            node.name,
            node.epoch,
            remote,
            loopback,
            timedelta(days=good_for_days),
            instead_of,
            CHANNEL,
            "" if instead_of is None else encode(ClaimLost(instead_of, LossReason.TAKEN_OVER)),
        )
        for attempt in range(_TRIES):
            async with self._pool.use() as connection:
                if attempt == 0:
                    rows = await connection.fetch(claim_statement.CLAIM, *arguments)
                else:  # a concurrent claim was not visible, and will be
                    async with connection.transaction():
                        await connection.execute(claim_statement.LOCK_CONSUMER, claims.client_id)
                        rows = await connection.fetch(claim_statement.CLAIM, *arguments)
            verdict = verdict_of(rows, claims.client_id, connection_id, loopback=loopback)
            if verdict is not None:
                return verdict
        raise Unavailable(f"{self._place}: too many concurrent claims of client {claims.client_id}")

    async def invalid(self, tokens: Sequence[TokenClaims], good_for_days: float) -> dict[TokenClaims, Refusal]:
        clients, hashes = [token.client_id for token in tokens], [token.token_hash for token in tokens]
        async with self._pool.use() as connection:
            rows = await connection.fetch(statements.INVALID, clients, hashes, timedelta(days=good_for_days))
        found = {TokenClaims(row["client_id"], row["token_hash"]): refusal_of(row) for row in rows}
        return {token: refusal for token, refusal in found.items() if refusal is not None}

    async def release(self, client_id: str, connection_id: UUID, ending: Ending | None = None) -> None:
        ended = (None, None, None) if ending is None else (ending.code, ending.reason, ending.lasted)
        async with self._pool.use() as connection:
            await connection.execute(statements.RELEASE, client_id, connection_id, *ended)

    async def note_ending(self, client_id: str, ending: Ending) -> None:
        async with self._pool.use() as connection:
            await connection.execute(statements.NOTE_ENDING, client_id, ending.code, ending.reason, ending.lasted)

    async def disconnect(self, connection_id: UUID) -> str | None:
        notice = encode(ClaimLost(connection_id, LossReason.DISCONNECTED))
        async with self._pool.use() as connection:
            row = await connection.fetchrow(statements.DISCONNECT, connection_id, CHANNEL, notice)
        return None if row is None else str(row["client_id"])

    async def held_by(self, node: Node) -> dict[UUID, str]:
        async with self._pool.use() as connection:
            rows = await connection.fetch(statements.HELD_BY, node.name, node.epoch)
        return {row["connection_id"]: row["client_id"] for row in rows}

    async def holder(self, client_id: str, connection_id: UUID) -> str | None:
        async with self._pool.use() as connection:
            node: str | None = await connection.fetchval(statements.HOLDER, client_id, connection_id)
        return node

    async def at_limit(self, client_ids: Sequence[str]) -> set[str]:
        async with self._pool.use() as connection:
            return {row["client_id"] for row in await connection.fetch(statements.AT_LIMIT, client_ids)}

    async def release_dead(self, after: float = 0.0) -> int:
        async with self._pool.use() as connection:
            released = await connection.fetch(statements.RELEASE_DEAD, timedelta(seconds=after))
            await connection.execute(statements.DELETE_NODES)
            await connection.execute(statements.DELETE_NOTICES)
            await connection.execute(statements.FORGET_SECRETS)
        return len(released)

    def close(self) -> None:
        """Close its own connections. The engine belongs to the caller."""
        self._pool.close()

    @property
    def problem(self) -> str | None:
        return self._problem

    async def take_notices(self, node: Node) -> list[Notice]:
        async with self._pool.use() as connection:
            rows = await connection.fetch(statements.TAKE_NOTICES, node.name)
        return decoded([row["notice"] for row in sorted(rows, key=itemgetter("notice_id"))])

    async def leave(self, node: str, notice: Notice) -> None:
        with engine_errors(self._place):
            async with self._engine.begin() as connection:
                await leave(connection, node, notice)

    async def notify(self, notice: Notice) -> None:
        await self._rows(select(func.pg_notify(CHANNEL, encode(notice))))

    @asynccontextmanager
    async def listening(self, on_notice: OnNotice) -> AsyncIterator[None]:
        def on_payload(payload: str | None) -> None:
            for notice in [None] if payload is None else decoded([payload]):
                on_notice(notice)

        def on_problem(problem: str | None) -> None:
            self._problem = problem

        async with Listener.opened(self._options, {CHANNEL: on_payload}, on_use=on_problem, clock=self._clock):
            yield
