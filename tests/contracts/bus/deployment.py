"""What an implementation provides to the suite: connections, and events that clients do not cause."""

import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from shared.bus.protocol import Bus, TopicOptions


class Deployment(Protocol):
    """A bus for one test alone, or one that tests share with topics of their own."""

    def connect(self) -> AbstractAsyncContextManager[Bus]:
        """Connect as another process of the deployment."""
        ...

    async def forget(self, topic: str, partition: int, below: int) -> None:
        """Delete the records below an offset, as retention does."""
        ...

    async def delete(self, topic: str) -> None:
        """Delete a topic; it does not exist any more on return."""
        ...


class ServedDeployment(Deployment, Protocol):
    """A bus whose server can be stopped, and that other processes can use."""

    @property
    def options(self) -> str:
        """How a child process connects, as JSON: `bus` (`BusOptions`) and `database`, without secrets."""
        ...

    async def stop_server(self) -> None:
        """Stop the server; it does not run any more on return."""
        ...

    async def start_server(self) -> None:
        """Start it again, at the same address and with its data."""
        ...


class DeploymentFixtures:
    """The fixtures of all parts of the suite. An implementation overrides `deployment`."""

    @pytest.fixture
    async def deployment(self) -> Deployment:
        """Provide the implementation."""
        raise NotImplementedError

    @pytest.fixture
    async def bus(self, deployment: Deployment) -> AsyncIterator[Bus]:
        """One connection."""
        async with deployment.connect() as bus:
            yield bus

    @pytest.fixture
    async def topic(self, bus: Bus) -> str:
        """Create a topic of four partitions."""
        return await new_topic(bus, partitions=4)

    @pytest.fixture
    async def line(self, bus: Bus) -> str:
        """Create a topic of one partition, so all its records have one order."""
        return await new_topic(bus, partitions=1)


async def new_topic(bus: Bus, partitions: int, *, compact: bool = False) -> str:
    """Create a topic that no other test uses."""
    name = f"contract-{uuid.uuid4().hex[:12]}"
    hours = None if compact else 168.0
    await bus.ensure_topics([TopicOptions(name=name, partitions=partitions, compact=compact, retention_hours=hours)])
    return name
