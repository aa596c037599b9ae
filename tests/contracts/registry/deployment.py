"""What the suite asks of the place where an implementation keeps its rows, and words that its tests share."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import pytest

from services.experience_api.registry.notices import Notice
from services.experience_api.registry.protocol import Claim, Client, Held, Node, Registry, Wish
from services.experience_api.registry.tokens import TokenClaims
from shared.lease import Granted, LeaseStore

PATIENCE = 10.0
DAYS = 30.0


class Deployment(Protocol):
    """One place where a registry is kept."""

    leases: LeaseStore

    def connect(self) -> AbstractAsyncContextManager[Registry]:
        """Connect, as one more replica would."""
        ...

    async def pass_days(self, days: float) -> None:
        """Make everything that has happened be so much longer ago; nodes that are alive go on living."""
        ...


def claims(client_id: str = "demo", token: str = "first") -> TokenClaims:
    return TokenClaims(client_id, hashlib.sha256(token.encode()).digest())


def wish(node: Node, client_id: str = "demo", token: str = "first", *, loopback: bool = True) -> Wish:
    return Wish(claims(client_id, token), uuid.uuid4(), node, "192.0.2.1", loopback, DAYS)


async def claimed(registry: Registry, wanted: Wish) -> Claim:
    """Claim what must be free."""
    verdict = await registry.claim(wanted)
    assert isinstance(verdict, Claim)
    return verdict


async def released(registry: Registry, claim: Claim) -> None:
    await registry.release(claim.client_id, claim.connection_id)


async def held(registry: Registry, wanted: Wish) -> Held:
    """Claim what must be somebody else's."""
    verdict = await registry.claim(wanted)
    assert isinstance(verdict, Held)
    return verdict


class Ear:
    """What one replica hears."""

    def __init__(self) -> None:
        self.notices: list[Notice | None] = []
        self._changed = asyncio.Event()

    def hear(self, notice: Notice | None) -> None:
        self.notices.append(notice)
        self._changed.set()

    async def heard(self, notice: Notice | None) -> None:
        """Wait until this has been heard."""
        async with asyncio.timeout(PATIENCE):
            while notice not in self.notices:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def listening(registry: Registry) -> AsyncIterator[Ear]:
    ear = Ear()
    async with registry.hearing(ear.hear):
        await ear.heard(None)
        yield ear


class RegistryFixtures:
    """What the tests of each part begin with."""

    @pytest.fixture
    async def deployment(self) -> Deployment:
        """Say which implementation is tested."""
        raise NotImplementedError

    @pytest.fixture
    async def registry(self, deployment: Deployment) -> AsyncIterator[Registry]:
        """One replica's connection, with the client `demo` in it."""
        async with deployment.connect() as registry:
            assert await registry.add(Client("demo", "sha256$x$y", ("orders.**",), may_send=True))
            yield registry

    @pytest.fixture
    async def node(self, deployment: Deployment) -> Node:
        return await alive(deployment, "one")

    @pytest.fixture
    async def other(self, deployment: Deployment) -> Node:
        return await alive(deployment, "two")


async def alive(deployment: Deployment, name: str) -> Node:
    """Take the lease of a node, for long."""
    answer = await deployment.leases.acquire(f"node/{name}", name, 600.0)
    assert isinstance(answer, Granted)
    return Node(name, answer.epoch)


async def dies(deployment: Deployment, node: Node) -> None:
    """End the lease of a node, as time does after its death."""
    await deployment.leases.release(f"node/{node.name}", node.name, node.epoch)
