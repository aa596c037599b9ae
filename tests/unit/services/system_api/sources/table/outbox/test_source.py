"""An outbox behind a reader that fails."""

import random
from collections.abc import Sequence

import pytest

from services.system_api.sources.source import EventBuilder
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.outbox.source import OutboxSource
from services.system_api.sources.table.outbox.state import OutboxState
from services.system_api.sources.table.rows import RowEvents
from services.system_api.sources.table.source import ChangeSignal
from services.system_api.sources.table.timestamps import unknown
from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK


class SlowReader:
    """An `OutboxReader` that reads a few rows in time."""

    def __init__(self) -> None:
        self.left = [str(number) for number in range(200)]

    async def rows(self, limit: int, _max_bytes: int, known: Sequence[str]) -> tuple[list[Row[int]], bool]:
        if limit > 60:
            raise Unavailable("canceling statement due to statement timeout")
        found = [Row(0, key, "", key, b"{}") for key in self.left if key not in known][:limit]
        return found, len(found) < limit

    async def remove(self, keys: Sequence[str]) -> set[str]:
        self.left = [key for key in self.left if key not in keys]
        return set()

    async def existing(self, keys: Sequence[str]) -> set[str]:
        return set(keys) & set(self.left)


async def test_rows_that_take_long_are_read_in_smaller_portions() -> None:
    """A statement that takes too long would do so again at each attempt, and the source would be down for good."""
    reader = SlowReader()
    builder = EventBuilder("orders", "t", None, SYSTEM_CLOCK, random.Random(1))
    events = RowEvents[int](builder, "orders", "id", 1000, lambda row: row.key, unknown)
    source = OutboxSource(reader, OutboxState("m", {}), events, ChangeSignal(), SYSTEM_CLOCK, deletes=True)
    read, failures = 0, 0
    while reader.left:
        try:
            batch = await source.poll(1000)
        except Unavailable:
            failures += 1
            if failures > 200:
                pytest.fail("it asks for as many again and again")
            continue
        read += len(batch.records)
        await source.settle(batch)
    assert read == 200
