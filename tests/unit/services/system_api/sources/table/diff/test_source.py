"""A table that is compared, behind a reader that fails."""

import random
from collections.abc import Sequence

import pytest

from services.system_api.sources.source import EventBuilder
from services.system_api.sources.table.diff.deletions import Deletions, KeyColumn
from services.system_api.sources.table.diff.source import DiffEvents, DiffLimits, DiffSource, Found
from services.system_api.sources.table.diff.state import DiffState
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.null_key_rows import NullKeyRow, NullKeyRows
from services.system_api.sources.table.rows import RowEvents
from services.system_api.sources.table.source import ChangeSignal
from services.system_api.sources.table.timestamps import unknown
from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK

ROWS = 1000


class SlowReader:
    """A `DiffReader` that reads a few rows in time."""

    async def hashes(self, after: Found | None, limit: int) -> tuple[list[Found], bool]:
        _check(limit, 300)
        first = 0 if after is None else int(after.key) + 1
        found = [Found(str(number), "d", None) for number in range(first, min(first + limit, ROWS))]
        return found, len(found) < limit

    async def contents(self, rows: Sequence[Found], _max_bytes: int) -> tuple[list[Row[int]], int]:
        _check(len(rows), 20)
        return [Row(0, row.key, "d", row.key, b"{}") for row in rows], len(rows)

    async def null_key_rows(self, _known: frozenset[str], _timeout: float) -> Sequence[NullKeyRow]:
        return ()


def _check(asked: int, most: int) -> None:
    if asked > most:
        raise Unavailable("canceling statement due to statement timeout")


async def test_rows_that_take_long_are_read_in_smaller_portions() -> None:
    """A statement that takes too long would do so again at each attempt, and the source would be down for good."""
    builder = EventBuilder("orders", "t", None, SYSTEM_CLOCK, random.Random(1))
    states = RowEvents[int](builder, "orders", "id", 1000, lambda row: row.key, unknown)
    source = DiffSource(
        SlowReader(),
        DiffState("m", {}),
        NullKeyRows({}),
        DiffEvents(states, Deletions(builder, [KeyColumn("id")])),
        DiffLimits(100_000, 1.0),
        ChangeSignal(),
        SYSTEM_CLOCK,
    )
    read, failures, more = 0, 0, True
    while more:
        try:
            batch = await source.poll(1000)
        except Unavailable:
            failures += 1
            if failures > ROWS:
                pytest.fail("it asks for as many again and again")
            continue
        read += len(batch.records)
        more = batch.more
    assert read == ROWS
