"""A queue is opened at its checkpoint; a checkpoint of another source is refused with the place of the settings."""

import random
from typing import Any

import pytest

from services.system_api.sources.queue.opening import BrokerClass, QueueSourceKind
from services.system_api.sources.queue.source import QueueSource
from services.system_api.sources.registry import AnySource
from shared.errors import SettingsError
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.system_api.sources.queue.memory_broker import MemoryBroker


class MemoryKind(QueueSourceKind):
    """A queue in memory."""

    kind: str = "memory"

    def broker_class(self) -> BrokerClass:
        return lambda _name, _options, checkpoint: MemoryBroker(checkpoint)


class UninstalledKind(MemoryKind):
    """A queue whose client library is not installed."""

    def broker_class(self) -> BrokerClass:
        raise ModuleNotFoundError("No module named 'broker_client'", name="broker_client")


def opener(kind: type[MemoryKind] = MemoryKind) -> Any:
    return kind(type="t").opener("s", SYSTEM_CLOCK, random.Random(1))


async def test_it_opens() -> None:
    async with opener()({}) as source:
        assert isinstance(source, QueueSource)
        assert not (await source.poll(1)).records


async def test_it_is_probed_without_a_checkpoint() -> None:
    assert await MemoryKind(type="t").probe("s") == "0 messages"


async def test_the_checkpoint_of_a_file_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^system\.sources\.s: the checkpoint is not that of queue 'q'"):
        async with opener()({"file": b"1"}):
            pytest.fail("it is not open")


async def test_a_missing_client_library_names_the_extra() -> None:
    with pytest.raises(SettingsError, match=r"system\.sources\.s\.kind: memory.*trelay\[queues\]"):
        opener(UninstalledKind)
    with pytest.raises(SettingsError, match=r"trelay\[queues\]"):
        await UninstalledKind(type="t").probe("s")


def test_every_queue_of_the_registry_is_one() -> None:
    kinds = [kind for kind in AnySource.__args__[0].__args__ if ".queue." in kind.__module__]
    assert len(kinds) >= 2
    assert all(issubclass(kind, QueueSourceKind) for kind in kinds)
