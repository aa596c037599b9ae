"""The clients of the registry in memory, and what they share with its connections."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from services.experience_api.registry.clients import Client, ClientChange, Ending
from services.experience_api.registry.notices import ClaimLost, GrantChanged, Look, LossReason, Notice
from services.experience_api.registry.protocol import Node, OnNotice
from services.experience_api.registry.tokens import SigningKey
from shared.lease import MemoryLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK, Clock


@dataclass(slots=True)
class Registered:
    """A registered client."""

    token_hash: bytes
    last_seen: float
    registered_at: datetime
    previous_hash: bytes | None = None
    previous_until: float = 0.0
    last_ending: Ending | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """A claim."""

    connection_id: UUID
    node: Node
    epoch: int
    token_hash: bytes
    remote: str
    since: datetime


class MemoryClients:
    """Clients, of one process. Nothing here awaits, so every operation is atomic."""

    def __init__(self, leases: MemoryLeaseStore, clock: Clock = SYSTEM_CLOCK) -> None:
        """`leases` holds the leases of the nodes."""
        self.problem: str | None = None
        self._leases = leases
        self._clock = clock
        self._clients: dict[str, Client] = {}
        self._previous_until: dict[str, float] = {}
        """By client: until when its previous secret is valid."""
        self._consumers: dict[str, Registered] = {}
        self._connections: dict[str, dict[int, Connection]] = {}
        """By client and slot, from 1."""
        self._used_tickets: set[bytes] = set()
        self._signing_key: SigningKey | None = None
        self._listeners: list[OnNotice] = []
        self._notices: dict[str, list[Notice]] = {}
        """By the name of the node that has not taken them."""

    async def add(self, client: Client) -> bool:
        stored = replace(client, created_at=self._clock.now())
        return self._clients.setdefault(client.client_id, stored) is stored

    async def find(self, client_id: str) -> Client | None:
        client = self._clients.get(client_id)
        if client is None:
            return None
        if client_id in self._consumers:
            client = replace(client, last_ending=self._consumers[client_id].last_ending)
        if self._previous_until.get(client_id, 0.0) > self._clock.monotonic():
            return client
        return replace(client, previous_secret_hash=None, previous_secret_until=None)

    async def page(self, after: str = "", limit: int | None = None) -> list[Client]:
        found = [await self.find(name) for name in sorted(self._clients) if name > after]
        return [client for client in found if client is not None][:limit]

    async def change(self, client_id: str, change: ClientChange) -> bool:
        client = self._clients.get(client_id)
        if client is None:
            return False
        self._clients[client_id] = replace(client, **change.members)
        if change.needs_reconnection(may_send=client.may_send, loopback_only=client.loopback_only):
            await self._revoke_claim(client_id, LossReason.DISCONNECTED)
        elif change.channels is not None:
            for held in self._held_of(client_id).values():
                await self.leave(held.node.name, GrantChanged(held.connection_id, change.channels))
        return True

    async def channels(self, client_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        return {name: self._clients[name].channels for name in client_ids if name in self._clients}

    async def rotate(self, client_id: str, secret_hash: str, overlap: float) -> bool:
        client = self._clients.get(client_id)
        if client is None:
            return False
        self._previous_until[client_id] = self._clock.monotonic() + overlap
        self._clients[client_id] = replace(
            client,
            secret_hash=secret_hash,
            previous_secret_hash=client.secret_hash if overlap else None,
            previous_secret_until=self._clock.now() + timedelta(seconds=overlap) if overlap else None,
        )
        return True

    async def disable(self, client_id: str) -> bool:
        await self._revoke_claim(client_id, LossReason.DISABLED)
        return self._set_disabled(client_id, disabled=True)

    async def enable(self, client_id: str) -> bool:
        return self._set_disabled(client_id, disabled=False)

    async def remove(self, client_id: str) -> bool:
        await self._revoke_claim(client_id, LossReason.REMOVED)
        self._consumers.pop(client_id, None)
        return self._clients.pop(client_id, None) is not None

    async def leave(self, node: str, notice: Notice) -> None:
        self._notices.setdefault(node, []).append(notice)
        await self.notify(Look(node))

    async def notify(self, notice: Notice) -> None:
        for on_notice in self._listeners:
            on_notice(notice)

    def _set_disabled(self, client_id: str, *, disabled: bool) -> bool:
        client = self._clients.get(client_id)
        if client is None:
            return False
        self._clients[client_id] = replace(client, disabled=disabled)
        return True

    def _held_of(self, client_id: str) -> dict[int, Connection]:
        """Return the claims of a client by slot: a copy."""
        return dict(self._connections.get(client_id, {}))

    def _drop(self, client_id: str, slot: int) -> None:
        del self._connections[client_id][slot]

    async def _revoke_claim(self, client_id: str, reason: LossReason, kept: bytes | None = None) -> None:
        for slot, held in self._held_of(client_id).items():
            if held.token_hash != kept:
                self._drop(client_id, slot)
                self._consumers[client_id].last_seen = self._clock.monotonic()
                await self._notify_holder(held, reason)

    async def _notify_holder(self, held: Connection, reason: LossReason) -> None:
        notice = ClaimLost(held.connection_id, reason)
        self._notices.setdefault(held.node.name, []).append(notice)
        await self.notify(notice)
