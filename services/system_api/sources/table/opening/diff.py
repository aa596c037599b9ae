"""Opens a table whose rows are compared."""

from contextlib import AsyncExitStack
from functools import partial

from services.system_api.sources.source import Source
from services.system_api.sources.table import timestamps
from services.system_api.sources.table.diff.deletions import Deletions, KeyColumn, verbatim
from services.system_api.sources.table.diff.source import DiffEvents, DiffLimits, DiffReader, DiffSource
from services.system_api.sources.table.diff.state import DiffState
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.mysql.values import key_json
from services.system_api.sources.table.null_key_rows import NullKeyRows
from services.system_api.sources.table.opening.assembly import Assembly
from services.system_api.sources.table.postgresql.keeper import SessionKeeper
from services.system_api.sources.table.postgresql.unordered.comparing import as_json
from services.system_api.sources.table.postgresql.unordered.diff_reader import PostgresDiffReader
from services.system_api.sources.table.source import ChangeSignal
from services.system_api.sources.table.sqlite.diff_reader import SqliteDiffReader
from services.system_api.sources.table.sqlite.file import SqliteFile
from services.system_api.sources.table.sqlite.shape import sqlite_shape_of


async def open_diff(stack: AsyncExitStack, assembly: Assembly) -> Source:
    """Open the source; `stack` closes it."""
    options, clock = assembly.options, assembly.clock
    signal = ChangeSignal()
    reader: DiffReader
    if options.on_postgresql:
        keeper = SessionKeeper(assembly.name, options, signal.set)
        stack.callback(keeper.close)
        with keeper.errors():
            shape = (await keeper.session()).shape
        key = [KeyColumn(each.name, as_json(each.base)) for each in shape.keys]
        mode, reader = shape.mode, PostgresDiffReader(keeper)
    elif options.on_mysql:
        from services.system_api.sources.table.mysql.diff_reader import MysqlDiffReader  # noqa: PLC0415 -- SQLAlchemy takes long to import
        from services.system_api.sources.table.mysql.table import MysqlTable  # noqa: PLC0415 -- SQLAlchemy takes long to import

        table = MysqlTable(assembly.name, options)
        stack.push_async_callback(table.connection.close)
        there = await table.shape(clock.monotonic())
        key = [KeyColumn(each.name, partial(key_json, each)) for each in there.keys]
        mode, reader = there.mode, MysqlDiffReader(table, clock)
    else:
        file = SqliteFile(options, clock)
        stack.push_async_callback(file.close)
        found = await sqlite_shape_of(file, options)
        key = [KeyColumn(name, verbatim if name in found.integers else str) for name in found.keys]
        mode, reader = found.mode, SqliteDiffReader(assembly.name, options, file, found)
    return DiffSource(
        reader,
        DiffState(mode, assembly.checkpoint),
        NullKeyRows(assembly.checkpoint),
        DiffEvents(
            assembly.events(_position, timestamps.unknown),
            Deletions(assembly.builder(options.deleted_type or f"{options.type}.deleted"), key),
        ),
        DiffLimits(options.diff_limit, assembly.null_key_timeout),
        signal,
        clock,
    )


def _position(row: Row[int]) -> str:
    return f"{row.key}@{row.order}"
