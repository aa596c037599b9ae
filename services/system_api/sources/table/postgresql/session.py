"""A connection to a table's database, with the shape of the table, and the transactions that it has observed."""

from collections.abc import Callable
from dataclasses import dataclass, field

import asyncpg

from services.system_api.sources.table.horizon import Horizon
from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.postgresql import bounds
from services.system_api.sources.table.postgresql.catalog import shape_of
from services.system_api.sources.table.postgresql.connection import connect, database_of
from services.system_api.sources.table.postgresql.queries import query_shape_of
from services.system_api.sources.table.postgresql.shape import Shape
from shared.errors import SettingsError

_SERVER = """
    SELECT pg_is_in_recovery() AS standby, current_setting('max_prepared_transactions')::int > 0 AS two_phase,
           pg_backend_pid() AS pid
"""


@dataclass(frozen=True, slots=True)
class Session:
    """The state of one connection: transaction ids start again when the server restarts."""

    connection: asyncpg.Connection
    shape: Shape
    identity: str | None
    """Of the table; see `bounds.identity`."""
    pid: int
    two_phase: bool
    horizon: Horizon = field(default_factory=Horizon)


async def open_session(options: TableSourceOptions, name: str, on_notify: Callable[[], None]) -> Session:
    """Connect for the source of this name.

    Raises:
        SettingsError: the table cannot be read with these settings.
    """
    connection = await connect(database_of(options), name, writable=options.mode == "outbox")
    try:
        session = await _prepared(connection, options)
        if options.notify is not None:
            await connection.add_listener(options.notify, lambda *_: on_notify())
    except BaseException:
        connection.terminate()
        raise
    return session


async def _prepared(connection: asyncpg.Connection, options: TableSourceOptions) -> Session:
    (server,) = await connection.fetch(_SERVER)
    if server["standby"] and options.notify is not None:
        raise SettingsError("notify: this server is a standby, which cannot notify; remove notify, or set the primary")
    if options.query:
        shape = await query_shape_of(connection, options)
    else:
        shape = await shape_of(connection, options, standby=server["standby"])
    try:
        identity = await connection.fetchval(bounds.identity(shape))
        if options.ordered:
            await connection.fetchrow(bounds.state(shape, 0))
    except asyncpg.InvalidParameterValueError as exc:
        raise SettingsError(f"time_zone: {exc}") from exc
    return Session(connection, shape, identity, server["pid"], server["two_phase"])
