"""Replicas with their connections on one registry in memory, which fails on demand."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import pytest

from services.experience_api.hub.audience import Interest
from services.experience_api.hub.close_codes import CloseReason
from services.experience_api.hub.heartbeat import Position, Progress
from services.experience_api.refusals import ALREADY_CONNECTED, Refusal, Refused
from services.experience_api.registry.clients import Client, Ending
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.registry.notices import Notice
from services.experience_api.registry.protocol import Claim, Held, Node
from services.experience_api.registry.tokens import TokenClaims
from services.experience_api.sessions.connections import Connections
from services.experience_api.sessions.node import NodeLease
from services.experience_api.sessions.options import ConnectionsOptions
from services.experience_api.sessions.slots import ConnectionSlot
from shared.errors import Unavailable
from shared.http.origin import Origin
from shared.lease import Leases, MemoryLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.tasks import Tasks

TIMEOUT = 60.0


ORIGIN = Origin(ip_address("192.0.2.1"), proxied=False)


OPTIONS = ConnectionsOptions(probe_timeout=0.05, reconcile_interval=600)


def claims(client_id: str = "demo", token: str = "first") -> TokenClaims:
    return TokenClaims(client_id, hashlib.sha256(token.encode()).digest())


class Socket:
    """A connection that responds, or does not."""

    def __init__(self, *, alive: bool = True) -> None:
        self.alive = alive
        self.ended: asyncio.Future[CloseReason] = asyncio.get_running_loop().create_future()
        self.wait: float | None = None
        self.cursor: bytes | None = b"cursor"
        self.subscribed: list[tuple[str, ...]] = []
        self.reads = True
        """Whether changes are made at once."""
        self.changed_at: bytes | None = None
        self.pending: list[asyncio.Future[bytes | None]] = []

    def end(self, reason: CloseReason, wait: float | None = None) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)
            self.wait = wait

    async def responds(self, timeout: float) -> bool:
        if not self.alive:
            await asyncio.sleep(timeout)
        return self.alive

    @property
    def position(self) -> Callable[[], Position]:
        return lambda: Position(b"cursor", 2, live=False)

    def progress(self) -> Progress:
        return Progress(10, 20)

    def subscribe(self, interest: Interest, _reason: str) -> asyncio.Future[bytes | None]:
        self.subscribed.append(interest.patterns)
        made: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        if self.reads:
            made.set_result(self.cursor)
        else:
            self.pending.append(made)
        return made


class Registry(MemoryRegistry):
    """Can be unavailable, can lose notices, and counts calls."""

    unavailable = False
    loses_notices = False
    invalid_fails = False
    claims = 0
    releases = 0

    async def claim(self, *arguments: Any, **keywords: Any) -> Claim | Held:
        self.claims += 1
        self._check()
        return await super().claim(*arguments, **keywords)

    async def release(self, client_id: str, connection_id: UUID, ending: Ending | None = None) -> None:
        self.releases += 1
        self._check()
        await super().release(client_id, connection_id, ending)

    async def held_by(self, node: Node) -> dict[UUID, str]:
        self._check()
        return await super().held_by(node)

    async def invalid(self, tokens: Sequence[TokenClaims], good_for_days: float) -> dict[TokenClaims, Refusal]:
        if self.invalid_fails:
            raise Unavailable("the registry became unavailable")
        return await super().invalid(tokens, good_for_days)

    def lose_stored(self) -> None:
        """Delete the stored notices, as after an hour; or another process of the name has taken them."""
        self._notices.clear()

    async def notify(self, notice: Notice) -> None:
        if not self.loses_notices:
            await super().notify(notice)

    def reconnect(self) -> None:
        """Do what a listener does after it has reconnected."""
        self.loses_notices = False
        for on_notice in self._listeners:
            on_notice(None)

    def _check(self) -> None:
        if self.unavailable:
            raise Unavailable("the registry is unavailable")


@dataclass
class Deployment:
    """Replicas on one registry."""

    registry: Registry
    leases: MemoryLeaseStore
    stack: AsyncExitStack
    options: ConnectionsOptions

    async def replica(self, name: str) -> Connections:
        tasks = await self.stack.enter_async_context(Tasks())
        ready = asyncio.Event()
        leases = Leases(self.leases, name)
        node = NodeLease(leases, name, SYSTEM_CLOCK, lambda problem: ready.set() if problem is None else None)
        connections = Connections(self.registry, node, tasks, self.options, good_for_days=30)
        tasks.keep("node", node.run(connections.lose_all))
        await ready.wait()
        await self.stack.enter_async_context(connections.open())
        return connections


@asynccontextmanager
async def a_deployment(options: ConnectionsOptions) -> AsyncIterator[Deployment]:
    leases = MemoryLeaseStore()
    registry = Registry(leases)
    await registry.add(Client("demo", "x"))
    await registry.register(claims())
    async with AsyncExitStack() as stack:
        yield Deployment(registry, leases, stack, options)


@asynccontextmanager
async def connected(
    replica: Connections, token: str = "first", *, alive: bool = True
) -> AsyncIterator[tuple[ConnectionSlot, Socket]]:
    async with replica.slot(claims(token=token), ORIGIN) as slot:
        socket = Socket(alive=alive)
        slot.attach(socket)
        yield slot, socket


async def refusal_of(replica: Connections, token: str = "first") -> Refusal:
    with pytest.raises(Refused) as refused:
        async with replica.slot(claims(token=token), ORIGIN):
            pytest.fail("admitted")
    if refused.value.refusal is ALREADY_CONNECTED:
        assert refused.value.retry_after, "it says when to come back, whatever the reason"
    return refused.value.refusal


async def reason(socket: Socket) -> CloseReason:
    async with asyncio.timeout(TIMEOUT):
        return await socket.ended
