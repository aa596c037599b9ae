"""From the options of a table source to the source, opened at a checkpoint."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from zoneinfo import ZoneInfo

from services.system_api.source import Checkpoint, Opening, Source, Stamp
from services.system_api.sources.table import timestamps
from services.system_api.sources.table.entries import Order
from services.system_api.sources.table.keyless import Keyless
from services.system_api.sources.table.ledger import Ledger, Row
from services.system_api.sources.table.options import TableSourceOptions, settings_errors
from services.system_api.sources.table.postgresql import PostgresReader
from services.system_api.sources.table.rows import Position, RowEvents, Time
from services.system_api.sources.table.statements import Shape
from services.system_api.sources.table.table import TableSource, Waking
from shared.clock import Clock


def table_source(name: str, options: TableSourceOptions, clock: Clock, dice: random.Random) -> Opening:
    """Return what opens the source of this name."""

    @asynccontextmanager
    async def opening(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        stamp = Stamp(name, options.type, options.channel, clock, dice)
        async with AsyncExitStack() as stack:
            with settings_errors(name):
                source = await _on_postgresql(stack, stamp, options, checkpoint, clock)
            yield source

    return opening


async def _on_postgresql(
    stack: AsyncExitStack, stamp: Stamp, options: TableSourceOptions, checkpoint: Checkpoint, clock: Clock
) -> TableSource[int]:
    waking = Waking()
    reader = PostgresReader(stamp.name, options, waking.tell)
    stack.callback(reader.close)
    shape = await reader.open()
    position = _by_key if shape.changed is None else _by_time if shape.versioned else _by_time_alone
    events = _events(stamp, options, position, await _time(shape))
    ledger = Ledger(shape.mode, int, checkpoint)
    return TableSource(reader, ledger, Keyless(checkpoint), events, waking, options.early_limit, clock)


def _events(
    stamp: Stamp, options: TableSourceOptions, position: Position[Order], time: Time[Order]
) -> RowEvents[Order]:
    return RowEvents(stamp, options.table, options.subject or options.key, options.row_limit, position, time)


async def _time(shape: Shape) -> Time[int]:
    if shape.changed is None:
        return timestamps.unknown
    if shape.order_type == "timestamptz":
        return timestamps.absolute()
    try:
        return timestamps.local(await asyncio.to_thread(ZoneInfo, shape.time_zone))
    except (KeyError, ValueError, OSError):
        # Known to the server and not here: the events have the time of reading.
        return timestamps.unknown


def _by_key(row: Row[int]) -> str:
    return row.key


def _by_time(row: Row[int]) -> str:
    return f"{row.key}@{row.order + timestamps.SINCE_1970}.{row.version}"


def _by_time_alone(row: Row[int]) -> str:
    return f"{row.key}@{row.order + timestamps.SINCE_1970}"
