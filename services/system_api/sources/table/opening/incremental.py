"""Opens a table that is read in the order of its keys or times."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from services.system_api.sources.source import Source
from services.system_api.sources.table import timestamps
from services.system_api.sources.table.entries import Order
from services.system_api.sources.table.ledger import Ledger, Row
from services.system_api.sources.table.null_key_rows import NullKeyRows
from services.system_api.sources.table.opening.assembly import Assembly
from services.system_api.sources.table.postgresql.incremental.reader import PostgresReader
from services.system_api.sources.table.postgresql.keeper import SessionKeeper
from services.system_api.sources.table.postgresql.shape import Shape
from services.system_api.sources.table.rereading import Rereading
from services.system_api.sources.table.rows import PositionOf, Time
from services.system_api.sources.table.source import ChangeSignal, Limits, Memory, TableReader, TableSource
from services.system_api.sources.table.sqlite.file import SqliteFile
from services.system_api.sources.table.sqlite.final import FinalKeys, FinalNumbers, FinalTexts
from services.system_api.sources.table.sqlite.reader import SqliteReader
from services.system_api.sources.table.sqlite.shape import sqlite_shape_of
from services.system_api.sources.table.sqlite.times import Numbers, Texts
from services.system_api.sources.table.time_scale import Days, Microseconds, TimeScale
from shared.errors import SettingsError

_GRAIN = 2.0
"""Seconds: SQLite's `CURRENT_TIMESTAMP` has no fractions, so more rows may be written in a second that was read."""


async def open_incremental(stack: AsyncExitStack, assembly: Assembly) -> Source:
    """Open the source; `stack` closes it."""
    if assembly.options.on_postgresql:
        return await _on_postgresql(stack, assembly)
    if assembly.options.generic:
        return await _on_generic(stack, assembly)
    return await (_on_mysql if assembly.options.on_mysql else _on_sqlite)(stack, assembly)


def _source(
    assembly: Assembly,
    reader: TableReader[Order],
    mode: str,
    kind: type[Order],
    position: PositionOf[Order],
    time: Time[Order],
    signal: ChangeSignal,
) -> Source:
    checkpoint = assembly.checkpoint
    ledger = Ledger(mode, kind, checkpoint)
    limits = Limits(assembly.options.early_limit, assembly.null_key_timeout)
    events = assembly.events(position, time)
    memory = Memory(ledger, NullKeyRows(checkpoint), Rereading(mode, kind, checkpoint))
    return TableSource(reader, memory, events, signal, limits, assembly.clock)


async def _on_postgresql(stack: AsyncExitStack, assembly: Assembly) -> Source:
    signal = ChangeSignal()
    keeper = SessionKeeper(assembly.name, assembly.options, signal.set)
    stack.callback(keeper.close)
    with keeper.errors():
        shape = (await keeper.session()).shape
    reader = PostgresReader(keeper, assembly.clock)
    position = _by_key if not shape.by_time else _by_scale(shape.scale, versioned=shape.versioned)
    return _source(assembly, reader, shape.mode, int, position, await _time(shape), signal)


async def _on_mysql(stack: AsyncExitStack, assembly: Assembly) -> Source:
    from services.system_api.sources.table.mysql.reader import MysqlReader  # noqa: PLC0415 -- SQLAlchemy takes long to import
    from services.system_api.sources.table.mysql.table import MysqlTable  # noqa: PLC0415 -- SQLAlchemy takes long to import

    options, clock = assembly.options, assembly.clock
    table = MysqlTable(assembly.name, options)
    stack.push_async_callback(table.connection.close)
    shape = await table.shape(clock.monotonic())
    zone = await _zone(options.time_zone)
    reader = MysqlReader(table, zone, clock)
    if not shape.times:
        return _source(assembly, reader, shape.mode, int, _by_key, timestamps.unknown, ChangeSignal())
    time = timestamps.local(zone) if shape.order.type == "datetime" else _time_of(shape.scale)
    return _source(assembly, reader, shape.mode, int, _by_scale(shape.scale), time, ChangeSignal())


async def _on_generic(stack: AsyncExitStack, assembly: Assembly) -> Source:
    from services.system_api.sources.table.generic.connection import GenericConnection  # noqa: PLC0415 -- SQLAlchemy takes long to import
    from services.system_api.sources.table.generic.dialects import ORACLE, SQL_SERVER  # noqa: PLC0415 -- SQLAlchemy takes long to import
    from services.system_api.sources.table.generic.reader import SCALE, GenericReader  # noqa: PLC0415 -- SQLAlchemy takes long to import
    from services.system_api.sources.table.generic.shape import shape_of  # noqa: PLC0415 -- SQLAlchemy takes long to import

    options = assembly.options
    dialect = SQL_SERVER if options.on_mssql else ORACLE
    connection = GenericConnection(assembly.name, options, dialect)
    stack.push_async_callback(connection.close)
    shape = shape_of(await connection.found(), options, dialect)
    zone = await _zone(options.time_zone)
    reader = GenericReader(options, connection, shape, dialect, zone, assembly.clock)
    if shape.time_kind is None:
        return _source(assembly, reader, shape.mode, int, _by_key, timestamps.unknown, ChangeSignal())
    local = timestamps.local(zone) if shape.time_kind != "zoned" else timestamps.absolute()
    return _source(
        assembly,
        reader,
        shape.mode,
        int,
        _by_scale(SCALE),
        lambda order: local(SCALE.micros(order)),
        ChangeSignal(),
    )


async def _on_sqlite(stack: AsyncExitStack, assembly: Assembly) -> Source:
    options, clock, name = assembly.options, assembly.clock, assembly.name
    file = SqliteFile(options, clock)
    stack.push_async_callback(file.close)
    shape = await sqlite_shape_of(file, options)
    age = options.overlap + _GRAIN
    signal = ChangeSignal()
    if not shape.times:
        keys = FinalKeys(options.overlap, clock)
        by_key = SqliteReader[int](name, options, file, shape, keys)
        return _source(assembly, by_key, shape.mode, int, _by_key, timestamps.unknown, signal)
    if shape.kind is not str:
        numbers = Numbers(options.time_unit, floating=shape.kind is float)
        by_number = SqliteReader[int](name, options, file, shape, FinalNumbers(numbers, age, clock))

        def position(row: Row[int]) -> str:
            return f"{row.key}@{numbers.text(row.order)}.{row.version}"

        return _source(assembly, by_number, shape.mode, int, position, numbers.rfc3339, signal)
    zone = await _zone(options.time_zone)
    texts = Texts(shape.order, zone)
    final = FinalTexts(texts, None if options.time_zone is None else zone, age, clock)
    by_text = SqliteReader[str](name, options, file, shape, final)
    return _source(assembly, by_text, shape.mode, str, _by_text, texts.rfc3339, signal)


async def _zone(name: str | None) -> tzinfo:
    if name is None:
        return UTC
    try:
        return await asyncio.to_thread(ZoneInfo, name)
    except (KeyError, ValueError, OSError) as exc:
        raise SettingsError(
            f"time_zone: found the unknown zone {name!r}; expected a name such as Europe/Berlin"
        ) from exc


async def _time(shape: Shape) -> Time[int]:
    if not shape.by_time:
        return timestamps.unknown
    if shape.order_type != "timestamp":
        return _time_of(shape.scale)
    try:
        return timestamps.local(await _zone(shape.time_zone))
    except SettingsError:
        # The server knows the zone, this system does not: the events have the time of reading.
        return timestamps.unknown


def _time_of(scale: TimeScale) -> Time[int]:
    """Return what makes times of order values that have no zone to consider; a date has no time."""
    if isinstance(scale, Days):
        return timestamps.unknown
    absolute = timestamps.absolute()
    return absolute if isinstance(scale, Microseconds) else lambda order: absolute(scale.micros(order))


def _by_scale(scale: TimeScale, *, versioned: bool = True) -> PositionOf[int]:
    """Return what makes positions of key, time and version."""
    if isinstance(scale, Microseconds):
        return _by_time if versioned else _by_time_only  # without the calls: every row pays for them
    return lambda row: f"{row.key}@{scale.text(row.order)}{f'.{row.version}' if versioned else ''}"


def _by_key(row: Row[int]) -> str:
    return row.key


def _by_time(row: Row[int]) -> str:
    return f"{row.key}@{row.order + timestamps.SINCE_1970}.{row.version}"


def _by_time_only(row: Row[int]) -> str:
    return f"{row.key}@{row.order + timestamps.SINCE_1970}"


def _by_text(row: Row[str]) -> str:
    return f"{row.key}@{row.order}.{row.version}"
