"""The fixtures and helpers that the tests of a registry share."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol
from uuid import UUID

import pytest

from services.experience_api.refusals import Refusal, Refused
from services.experience_api.registry.clients import Client
from services.experience_api.registry.notices import Notice
from services.experience_api.registry.protocol import Claim, Held, Node, Registry
from services.experience_api.registry.tokens import TokenClaims
from shared.lease import Granted, LeaseStore

TIMEOUT = 60.0
DAYS = 30.0


class Deployment(Protocol):
    """One database of a registry."""

    leases: LeaseStore

    def connect(self) -> AbstractAsyncContextManager[Registry]:
        """Connect as another replica."""
        ...

    async def pass_days(self, days: float) -> None:
        """Move everything that has happened this long into the past; live nodes stay alive."""
        ...


def claims(client_id: str = "demo", token: str = "first") -> TokenClaims:
    return TokenClaims(client_id, hashlib.sha256(token.encode()).digest())


async def attempt(
    registry: Registry,
    node: Node,
    client_id: str = "demo",
    token: str = "first",
    *,
    connection_id: UUID | None = None,
    loopback: bool = True,
    instead_of: UUID | None = None,
) -> Claim | Held:
    return await registry.claim(
        claims(client_id, token),
        connection_id or uuid.uuid4(),
        node,
        remote="192.0.2.1",
        loopback=loopback,
        good_for_days=DAYS,
        instead_of=instead_of,
    )


async def claimed(
    registry: Registry, node: Node, client_id: str = "demo", token: str = "first", *, loopback: bool = True
) -> Claim:
    """Claim what must be free."""
    verdict = await attempt(registry, node, client_id, token, loopback=loopback)
    assert isinstance(verdict, Claim)
    return verdict


async def released(registry: Registry, claim: Claim) -> None:
    await registry.release(claim.client_id, claim.connection_id)


async def held(registry: Registry, node: Node) -> Held:
    """Claim what another connection must hold."""
    verdict = await attempt(registry, node)
    assert isinstance(verdict, Held)
    return verdict


class Received:
    """The notices that one replica receives."""

    def __init__(self) -> None:
        self.notices: list[Notice | None] = []
        self._changed = asyncio.Event()

    def on_notice(self, notice: Notice | None) -> None:
        self.notices.append(notice)
        self._changed.set()

    async def wait_for(self, notice: Notice | None) -> None:
        """Wait until this notice has arrived."""
        async with asyncio.timeout(TIMEOUT):
            while notice not in self.notices:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def listening(registry: Registry) -> AsyncIterator[Received]:
    received = Received()
    async with registry.listening(received.on_notice):
        await received.wait_for(None)
        yield received


class RegistryFixtures:
    """The fixtures of every part of the suite."""

    @pytest.fixture
    async def deployment(self) -> Deployment:
        """Return the implementation under test."""
        raise NotImplementedError

    @pytest.fixture
    async def registry(self, deployment: Deployment) -> AsyncIterator[Registry]:
        """The connection of one replica, with the client `demo`."""
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
    """Acquire the lease of a node for a long time."""
    answer = await deployment.leases.acquire(f"node/{name}", name, 600.0)
    assert isinstance(answer, Granted)
    return Node(name, answer.epoch)


async def dies(deployment: Deployment, node: Node) -> None:
    """End the lease of a node, as if it had died and its lease expired."""
    await deployment.leases.release(f"node/{node.name}", node.name, node.epoch)


async def refusal_of(
    registry: Registry, node: Node, client_id: str = "demo", token: str = "first", *, loopback: bool = True
) -> Refusal:
    """Return why a claim is refused."""
    with pytest.raises(Refused) as refused:
        await attempt(registry, node, client_id, token, loopback=loopback)
    return refused.value.refusal
