"""The clients of the registry in PostgreSQL."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import RowMapping, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.experience_api.registry import statements
from services.experience_api.registry.clients import Client, ClientChange
from services.experience_api.registry.notices import LossReason
from services.experience_api.registry.rows import client_of
from services.experience_api.registry.stored_notices import lock_consumer, revoke_claims, tell_connections
from shared.database.engine_errors import engine_errors
from shared.database.options import DatabaseOptions
from shared.database.pool import ConnectionPool
from shared.database.tables.clients import clients, consumers
from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK, Clock

_POOL_SIZE = 4
"""Connections for finding clients, claims and releases, besides those of the engine."""
_TRIES = 5


class StoredClients:
    """Clients, in the tables of `shared.database`."""

    def __init__(self, engine: AsyncEngine, options: DatabaseOptions, clock: Clock = SYSTEM_CLOCK) -> None:
        """Use an engine, and connections of its own to claim and to listen."""
        self._engine = engine
        # Without the round trips of BEGIN and COMMIT, for statements that are a transaction each.
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        # Consumers connect in crowds, and a flood may claim at will: plain asyncpg takes a tenth of the CPU time.
        self._pool = ConnectionPool(options, size=_POOL_SIZE, purpose="claims")
        self._options = options
        self._place = f"registry in {options.address}"
        self._clock = clock
        self._problem: str | None = "not listening"

    async def add(self, client: Client) -> bool:
        values = {
            "client_id": client.client_id,
            "secret_hash": client.secret_hash,
            "channels": list(client.channels),
            "may_send": client.may_send,
            "loopback_only": client.loopback_only,
            "disabled": client.disabled,
            "note": client.note,
            "policy": client.policy.value,
            "max_connections": client.max_connections,
        }
        statement = insert(clients).values(values).on_conflict_do_nothing().returning(clients.c.client_id)
        return bool(await self._rows(statement))

    async def find(self, client_id: str) -> Client | None:
        async with self._pool.use() as connection:
            row = await connection.fetchrow(statements.FIND, client_id)
        return None if row is None else client_of(row)

    async def page(self, after: str = "", limit: int | None = None) -> list[Client]:
        async with self._pool.use() as connection:
            return [client_of(row) for row in await connection.fetch(statements.PAGE, after, limit)]

    async def change(self, client_id: str, change: ClientChange) -> bool:
        values = change.members
        if change.channels is not None:
            values["channels"] = list(change.channels)
        if not values:
            return await self.find(client_id) is not None
        known = select(clients).where(clients.c.client_id == client_id).with_for_update()
        with engine_errors(self._place):
            async with self._engine.begin() as connection:
                await lock_consumer(connection, client_id)
                before = (await connection.execute(known)).mappings().first()
                if before is None:
                    return False
                await connection.execute(update(clients).where(clients.c.client_id == client_id).values(values))
                if change.needs_reconnection(may_send=before["may_send"], loopback_only=before["loopback_only"]):
                    await revoke_claims(connection, client_id, LossReason.DISCONNECTED)
                    return True
                if change.max_connections is not None and change.max_connections < before["max_connections"]:
                    await _end_surplus(connection, client_id)
                if change.channels is not None:
                    await tell_connections(connection, client_id, change.channels)
                return True

    async def channels(self, client_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        async with self._pool.use() as connection:
            rows = await connection.fetch(statements.CHANNELS, client_ids)
        return {row["client_id"]: tuple(row["channels"]) for row in rows}

    async def rotate(self, client_id: str, secret_hash: str, overlap: float) -> bool:
        async with self._pool.use() as connection:
            changed = await connection.fetchval(statements.ROTATE, client_id, secret_hash, timedelta(seconds=overlap))
        return changed is not None

    async def disable(self, client_id: str) -> bool:
        with engine_errors(self._place):
            async with self._engine.begin() as connection:
                await lock_consumer(connection, client_id)
                changed = await connection.execute(
                    update(clients).where(clients.c.client_id == client_id).values(disabled=True)
                )
                await revoke_claims(connection, client_id, LossReason.DISABLED)
                return changed.rowcount > 0

    async def enable(self, client_id: str) -> bool:
        statement = update(clients).where(clients.c.client_id == client_id).values(disabled=False)
        return bool(await self._rows(statement.returning(clients.c.client_id)))

    async def remove(self, client_id: str) -> bool:
        for _ in range(_TRIES):
            with engine_errors(self._place):
                async with self._engine.begin() as connection:
                    removed = await _removed(connection, client_id)
            if removed is not None:
                return removed
        raise Unavailable(f"{self._place}: client {client_id} registers again and again; disable it, then remove it")

    async def _rows(self, statement: Any) -> Sequence[RowMapping]:
        with engine_errors(self._place):
            async with self._autocommit.connect() as connection:
                result = await connection.execute(statement)
                return result.mappings().all() if result.returns_rows else ()


async def _end_surplus(connection: AsyncConnection, client_id: str) -> None:
    """End as many connections of a client as it has too many. The caller holds the lock of the consumer."""
    surplus = (await connection.execute(text(statements.SURPLUS), {"client_id": client_id})).scalars().all()
    if surplus:
        await revoke_claims(connection, client_id, LossReason.DISCONNECTED, only=surplus)


async def _removed(connection: AsyncConnection, client_id: str) -> bool | None:
    """Remove a client; return whether there was one, and None if it has registered meanwhile: then try again."""
    locked = await lock_consumer(connection, client_id) is not None
    known = select(clients.c.client_id).where(clients.c.client_id == client_id).with_for_update()
    if (await connection.execute(known)).first() is None:
        return False
    # While the client is locked, no registration succeeds. One from just before may be claiming by now, and a claim
    # locks the consumer first: to wait for it here would be a deadlock.
    registered = select(func.count()).where(consumers.c.client_id == client_id)
    if not locked and (await connection.execute(registered)).scalar_one():
        return None
    await revoke_claims(connection, client_id, LossReason.REMOVED)
    await connection.execute(delete(clients).where(clients.c.client_id == client_id))
    return True
