"""Opens an outbox."""

from contextlib import AsyncExitStack

from services.system_api.sources.source import Source
from services.system_api.sources.table import timestamps
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.opening.assembly import Assembly
from services.system_api.sources.table.outbox.source import OutboxReader, OutboxSource
from services.system_api.sources.table.outbox.state import OutboxState
from services.system_api.sources.table.postgresql.keeper import SessionKeeper
from services.system_api.sources.table.postgresql.unordered.outbox_reader import PostgresOutboxReader
from services.system_api.sources.table.source import ChangeSignal
from services.system_api.sources.table.sqlite.file import SqliteFile
from services.system_api.sources.table.sqlite.outbox_reader import SqliteOutboxReader
from services.system_api.sources.table.sqlite.shape import sqlite_shape_of


async def open_outbox(stack: AsyncExitStack, assembly: Assembly) -> Source:
    """Open the source; `stack` closes it."""
    options, clock = assembly.options, assembly.clock
    signal = ChangeSignal()
    reader: OutboxReader
    if options.on_postgresql:
        keeper = SessionKeeper(assembly.name, options, signal.set)
        stack.callback(keeper.close)
        with keeper.errors():
            mode = (await keeper.session()).shape.mode
        reader = PostgresOutboxReader(keeper)
    elif options.on_mysql:
        from services.system_api.sources.table.mysql.outbox_reader import MysqlOutboxReader  # noqa: PLC0415 -- SQLAlchemy takes long to import
        from services.system_api.sources.table.mysql.table import MysqlTable  # noqa: PLC0415 -- SQLAlchemy takes long to import

        table = MysqlTable(assembly.name, options)
        stack.push_async_callback(table.connection.close)
        mode, reader = (await table.shape(clock.monotonic())).mode, MysqlOutboxReader(table, clock)
    else:
        file = SqliteFile(options, clock, writable=True)
        stack.push_async_callback(file.close)
        shape = await sqlite_shape_of(file, options)
        mode, reader = shape.mode, SqliteOutboxReader(options, file, shape)
    state = OutboxState(mode, assembly.checkpoint)
    events = assembly.events(_position, timestamps.unknown)
    return OutboxSource(reader, state, events, signal, clock, deletes=options.published_column is None)


def _position(row: Row[int]) -> str:
    return row.key
