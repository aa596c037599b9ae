"""Connects to the database by SQLAlchemy, which takes long to import: only what executes its statements does.

The engine connects at its first use, so a service can start before its database.
"""

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shared.database.arguments import connect_arguments
from shared.database.connecting import open_connection
from shared.database.engine_spans import trace_engine
from shared.database.options import DatabaseOptions
from shared.database.spans import database_attributes


def create_engine(options: DatabaseOptions) -> AsyncEngine:
    """Create the engine for SQLAlchemy Core; `dispose()` it at the end. It connects at its first use."""
    arguments = connect_arguments(options, "registrations")

    async def connect() -> asyncpg.Connection:
        return await open_connection(arguments)

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=options.pool_size,
        max_overflow=0,
        hide_parameters=True,  # errors must not show hashes of secrets
        pool_timeout=options.connect_timeout,
        # A connection that was lost in the pool is replaced before a statement fails on it.
        pool_pre_ping=True,
    )
    host = options.hosts[0] if len(options.hosts) == 1 else None
    trace_engine(engine.sync_engine, database_attributes("postgresql", options.database, host))
    return engine
