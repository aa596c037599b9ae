"""Opens a table source at a checkpoint: connects its options, the reader of its database and the ledger."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from services.system_api.sources.source import Checkpoint, EventBuilder, Source, SourceOpener
from services.system_api.sources.table.entries import Order
from services.system_api.sources.table.ledger import Ledger, Row
from services.system_api.sources.table.null_key_rows import NullKeyRows
from services.system_api.sources.table.options import TableSourceOptions, settings_errors
from services.system_api.sources.table.postgresql import timestamps
from services.system_api.sources.table.postgresql.reader import PostgresReader
from services.system_api.sources.table.postgresql.shape import Shape
from services.system_api.sources.table.rows import PositionOf, RowEvents, Time
from services.system_api.sources.table.source import ChangeSignal, Limits, TableReader, TableSource
from services.system_api.sources.table.sqlite.file import SqliteFile
from services.system_api.sources.table.sqlite.final import FinalKeys, FinalNumbers, FinalTexts
from services.system_api.sources.table.sqlite.reader import SqliteReader
from services.system_api.sources.table.sqlite.shape import sqlite_shape_of
from services.system_api.sources.table.sqlite.times import Numbers, Texts
from shared.errors import SettingsError
from shared.runtime.clock import Clock

_GRAIN = 2.0
"""Seconds: SQLite's `CURRENT_TIMESTAMP` has no fractions, so more rows may be written in a second that was read."""
_NULL_KEY_SHARE = 0.2
"""Share of `poll_timeout` that a search for rows without a key may take."""


class TableSourceKind(TableSourceOptions):
    """Rows of a table or a view."""

    def opener(self, name: str, clock: Clock, rng: random.Random) -> SourceOpener:
        """Return what opens the source of this name."""
        return table_source(name, self, clock, rng)


def table_source(name: str, options: TableSourceOptions, clock: Clock, rng: random.Random) -> SourceOpener:
    """Return what opens the source of this name."""

    @asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        assembly = _Assembly(options, EventBuilder(name, options.type, options.channel, clock, rng), checkpoint, clock)
        async with AsyncExitStack() as stack:
            with settings_errors(name):
                source = await (_on_postgresql if options.on_postgresql else _on_sqlite)(stack, assembly)
            yield source

    return open_source


@dataclass(frozen=True, slots=True)
class _Assembly:
    """The parts that every table source is made of."""

    options: TableSourceOptions
    builder: EventBuilder
    checkpoint: Checkpoint
    clock: Clock

    def source(
        self,
        reader: TableReader[Order],
        mode: str,
        kind: type[Order],
        position: PositionOf[Order],
        time: Time[Order],
        signal: ChangeSignal,
    ) -> Source:
        options, checkpoint = self.options, self.checkpoint
        events = RowEvents(self.builder, options.table, options.subject_name, options.row_limit, position, time)
        ledger = Ledger(mode, kind, checkpoint)
        limits = Limits(options.early_limit, options.poll_timeout * _NULL_KEY_SHARE)
        return TableSource(reader, ledger, NullKeyRows(checkpoint), events, signal, limits, self.clock)


async def _on_postgresql(stack: AsyncExitStack, assembly: _Assembly) -> Source:
    signal = ChangeSignal()
    reader = PostgresReader(assembly.builder.name, assembly.options, signal.set, assembly.clock)
    stack.callback(reader.close)
    shape = await reader.open()
    position = _by_key if not shape.by_time else _by_time if shape.versioned else _by_time_only
    return assembly.source(reader, shape.mode, int, position, await _time(shape), signal)


async def _on_sqlite(stack: AsyncExitStack, assembly: _Assembly) -> Source:
    options, clock, name = assembly.options, assembly.clock, assembly.builder.name
    file = SqliteFile(options, clock)
    stack.push_async_callback(file.close)
    shape = await sqlite_shape_of(file, options)
    age = options.overlap + _GRAIN
    signal = ChangeSignal()
    if shape.updated_at_column is None:
        keys = FinalKeys(options.overlap, clock)
        by_key = SqliteReader[int](name, options, file, shape, keys)
        return assembly.source(by_key, shape.mode, int, _by_key, timestamps.unknown, signal)
    if shape.kind is int:
        numbers = Numbers()
        by_number = SqliteReader[int](name, options, file, shape, FinalNumbers(numbers, age, clock))
        return assembly.source(by_number, shape.mode, int, _by_number, numbers.rfc3339, signal)
    zone = await _zone(options.time_zone)
    texts = Texts(shape.updated_at_column, zone)
    by_text = SqliteReader[str](name, options, file, shape, FinalTexts(texts, zone, age, clock))
    return assembly.source(by_text, shape.mode, str, _by_text, texts.rfc3339, signal)


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
    if shape.order_type == "timestamptz":
        return timestamps.absolute()
    try:
        return timestamps.local(await _zone(shape.time_zone))
    except SettingsError:
        # The server knows the zone, this system does not: the events have the time of reading.
        return timestamps.unknown


def _by_key(row: Row[int]) -> str:
    return row.key


def _by_time(row: Row[int]) -> str:
    return f"{row.key}@{row.order + timestamps.SINCE_1970}.{row.version}"


def _by_time_only(row: Row[int]) -> str:
    return f"{row.key}@{row.order + timestamps.SINCE_1970}"


def _by_number(row: Row[int]) -> str:
    return f"{row.key}@{row.order}.{row.version}"


def _by_text(row: Row[str]) -> str:
    return f"{row.key}@{row.order}.{row.version}"
