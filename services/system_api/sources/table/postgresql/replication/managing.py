"""What operators do with the slot of a source: look at it, create it, drop it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from services.system_api.sources.table.options import TableSourceOptions, settings_errors
from services.system_api.sources.table.postgresql.catalog import shape_of
from services.system_api.sources.table.postgresql.connection import connect, database_of, table_errors
from services.system_api.sources.table.postgresql.replication import slot as slots
from services.system_api.sources.table.postgresql.replication.log import slot_of

_ENDLESS = 1e8
"""Seconds."""


async def probe(name: str, options: TableSourceOptions) -> str:
    """Return in a few words what the source of this name would read from. Nothing is created.

    Raises:
        SettingsError: changes cannot be read.
        Unavailable: the server does not answer.
    """
    slot = slot_of(name, options)
    async with _connected(name, options, writable=False) as connection:
        await slots.system_of(connection)
        shape = await shape_of(connection, options, standby=False)
        status = await slots.status_of(connection, slot)
        if status is None and options.create_slot:
            return f"slot {slot.name} does not exist yet; the source creates it"
        oid = await connection.fetchval("SELECT to_regclass($1)::oid", shape.relation)
        await slots.check_published(connection, slot, shape.relation, oid)
        remark = ""
        if await slots.restricted(connection, oid):
            remark = f"; row-level security of {shape.relation} does not apply to its log: use a publication with WHERE"
    found = f"there is no slot {slot.name}" if status is None else f"slot {slot.name} keeps {status.lag} bytes of log"
    return found + remark


async def create(name: str, options: TableSourceOptions) -> list[str]:
    """Create slot and publication where they do not exist; return what was created. Raises what `probe` raises.

    The server waits for the transactions that are open, and the operator with it.
    """
    async with _connected(name, options, writable=True) as connection:
        await slots.system_of(connection)
        shape = await shape_of(connection, options, standby=False)
        await connection.execute("SET statement_timeout = 0")
        return await slots.create(connection, slot_of(name, options), shape.relation, timeout=_ENDLESS)


async def drop(name: str, options: TableSourceOptions) -> list[str]:
    """Drop slot and publication where they exist; return what was dropped.

    Raises:
        Unavailable: also if the slot is being read.
    """
    async with _connected(name, options, writable=True) as connection:
        return await slots.drop(connection, slot_of(name, options))


@asynccontextmanager
async def _connected(name: str, options: TableSourceOptions, *, writable: bool) -> AsyncIterator[asyncpg.Connection]:
    database = database_of(options)
    with settings_errors(name), table_errors(f"{database.address}, table {options.table}"):
        connection = await connect(database, f"{name} slot", writable=writable)
        try:
            yield connection
        finally:
            connection.terminate()
