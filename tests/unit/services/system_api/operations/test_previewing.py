"""What a rewind would do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from services.system_api.operations import previewing
from services.system_api.operations.previewing import preview
from services.system_api.sources.source import Checkpoint, Source
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Transaction
from shared.errors import Unavailable
from tests.unit.services.system_api.harness import TOPICS, Harness


async def test_a_preview_changes_nothing() -> None:
    bus = MemoryBus()
    await bus.ensure_topics(TOPICS.all())
    transaction = Transaction()
    transaction.append(TOPICS.checkpoints, b"numbers", b"7")
    transaction.append(TOPICS.checkpoints, b"numbers/~trelay", b"{}")
    async with bus.writer("w") as writer:
        await writer.commit(transaction)
    found = await preview(bus, TOPICS.checkpoints, "numbers", "beginning", Harness().open)
    assert found == {"dry_run": True, "from": {"": "7"}, "to": {}, "parts_moved": 1}
    assert (await bus.latest(TOPICS.checkpoints, b"numbers"))[b"numbers"] == b"7"


async def test_a_source_that_does_not_open_in_time_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.asynccontextmanager
    async def hanging(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        await asyncio.Event().wait()
        yield Harness().opened[0]

    monkeypatch.setattr(previewing, "_TIMEOUT", 0.01)
    bus = MemoryBus()
    await bus.ensure_topics(TOPICS.all())
    with pytest.raises(Unavailable, match="source numbers could not be opened"):
        await preview(bus, TOPICS.checkpoints, "numbers", "end", hanging)
