"""What a queue or a log answers beside the source that reads it."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Literal

import pytest

from services.system_api.sources.capabilities import Inquirable, Rewinding
from services.system_api.sources.queue.inquiry import QueueInquiry
from services.system_api.sources.queue.message import RewindableConnection
from services.system_api.sources.source import Checkpoint
from shared.errors import Malformed, SettingsError
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.system_api.sources.queue.memory_broker import MemoryBroker
from tests.unit.services.system_api.sources.queue.test_opening import MemoryKind


class Log:
    """A log of which each place has a checkpoint."""

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        return {"": str(place).encode()}


class LogBroker(MemoryBroker):
    @asynccontextmanager
    async def looking(self) -> AsyncIterator[RewindableConnection | None]:  # type: ignore[override]
        yield Log()


async def test_a_queue_has_a_beginning_alone() -> None:
    async with QueueInquiry.opened(broker := MemoryBroker({})) as inquiry:
        assert isinstance(inquiry, Rewinding)
        assert await inquiry.checkpoint_at("beginning") == {}
        for place in ("end", datetime(2026, 1, 1, tzinfo=UTC)):
            with pytest.raises(Malformed, match="keeps no message that is published"):
                await inquiry.checkpoint_at(place)
    assert broker.connections == 0


async def test_a_log_finds_its_places() -> None:
    async with QueueInquiry.opened(LogBroker({})) as inquiry:
        assert await inquiry.checkpoint_at("end") == {"": b"end"}


async def test_nothing_is_read() -> None:
    broker = MemoryBroker({})
    broker.send("1")
    async with QueueInquiry.opened(broker) as inquiry:
        assert not await inquiry.poll(10)
        change = asyncio.create_task(inquiry.wait_for_change())
        done, _ = await asyncio.wait([change], timeout=0)
        assert not done
        change.cancel()
    assert len(broker.queue) == 1


async def test_the_settings_open_it_at_a_checkpoint() -> None:
    settings = MemoryKind(type="t")
    assert isinstance(settings, Inquirable)
    ask = settings.inquirer("s", SYSTEM_CLOCK, random.Random(1))
    async with ask({}) as inquiry:
        assert isinstance(inquiry, QueueInquiry)
    with pytest.raises(SettingsError, match=r"^system\.sources\.s: the checkpoint is not that of queue 'q'"):
        async with ask({"file": b"1"}):
            pytest.fail("it is not open")
