"""A queue is opened at its checkpoint; a checkpoint of another source is refused with the place of the settings."""

import random

import pytest

from services.system_api.sources.queue.opening import queue_source
from services.system_api.sources.queue.options import QueueSourceOptions
from services.system_api.sources.queue.source import QueueSource
from shared.errors import SettingsError
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.system_api.sources.queue.memory_broker import MemoryBroker

OPEN = queue_source("s", QueueSourceOptions(type="t"), MemoryBroker, SYSTEM_CLOCK, random.Random(1))


async def test_it_opens() -> None:
    async with OPEN({}) as source:
        assert isinstance(source, QueueSource)
        assert not (await source.poll(1)).records


async def test_the_checkpoint_of_a_file_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^system\.sources\.s: the checkpoint is not that of queue 'q'"):
        async with OPEN({"file": b"1"}):
            pytest.fail("it is not open")
