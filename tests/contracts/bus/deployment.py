"""What an implementation gives the suite: a way to connect, and what happens to a bus without its users' doing."""

import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from shared.bus.protocol import Bus, TopicOptions


class Deployment(Protocol):
    """One bus that tests have to themselves, or share under topic names of their own."""

    def connect(self) -> AbstractAsyncContextManager[Bus]:
        """Connect, as one more process of the deployment would."""
        ...

    async def forget(self, topic: str, partition: int, below: int) -> None:
        """Do now what retention does in time: drop the records below an offset."""
        ...

    async def delete(self, topic: str) -> None:
        """Delete a topic; it is gone on return."""
        ...


class ServedDeployment(Deployment, Protocol):
    """A bus whose server can be away, and that other processes can use."""

    @property
    def options(self) -> str:
        """What a child process connects with, as JSON: `bus` (see `BusOptions`) and `database`, no secrets."""
        ...

    async def stop_server(self) -> None:
        """Stop the server; it is gone on return."""
        ...

    async def start_server(self) -> None:
        """Start it again, at the same address and with what it held."""
        ...


class DeploymentFixtures:
    """The fixtures every part of the suite uses. An implementation overrides `deployment`."""

    @pytest.fixture
    async def deployment(self) -> Deployment:
        """Say which implementation is tested."""
        raise NotImplementedError

    @pytest.fixture
    async def bus(self, deployment: Deployment) -> AsyncIterator[Bus]:
        """One connection."""
        async with deployment.connect() as bus:
            yield bus

    @pytest.fixture
    async def topic(self, bus: Bus) -> str:
        """Make a topic of four partitions."""
        return await new_topic(bus, partitions=4)

    @pytest.fixture
    async def line(self, bus: Bus) -> str:
        """Make a topic of one partition: everything in it has one order."""
        return await new_topic(bus, partitions=1)


async def new_topic(bus: Bus, partitions: int, *, compact: bool = False) -> str:
    """Make a topic that no other test has."""
    name = f"contract-{uuid.uuid4().hex[:12]}"
    hours = None if compact else 168.0
    await bus.ensure_topics([TopicOptions(name=name, partitions=partitions, compact=compact, retention_hours=hours)])
    return name
