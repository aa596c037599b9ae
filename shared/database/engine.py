"""Connects to the database by SQLAlchemy, which takes long to import: only what executes its statements does.

The engine connects at its first use, so a service can start before its database.
"""

from typing import Any

import asyncpg
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shared.database.arguments import connect_arguments
from shared.database.connecting import open_connection
from shared.database.options import DatabaseOptions
from shared.database.spans import begun, database_attributes, end
from shared.runtime.trace import Attributes, client_spans

_SPAN = "trelay_span"


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


def trace_engine(engine: Engine, attributes: Attributes) -> None:
    """Make a span of each statement that an engine executes, as `spans` says; `attributes` name the database."""

    @event.listens_for(engine, "before_cursor_execute", named=True)
    def before(**call: Any) -> None:
        if (spans := client_spans()) is not None and call["context"] is not None:
            setattr(call["context"], _SPAN, begun(spans, call["statement"], attributes))

    @event.listens_for(engine, "after_cursor_execute", named=True)
    def after(**call: Any) -> None:
        end(getattr(call["context"], _SPAN, None))

    @event.listens_for(engine, "handle_error")
    def failed(context: ExceptionContext) -> None:
        end(getattr(context.execution_context, _SPAN, None), context.original_exception)
