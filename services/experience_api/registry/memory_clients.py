"""The clients of the registry in memory, and what they share with its connections."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from services.experience_api.registry.clients import Client, ClientChange, Ending, Policy
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
    tokens: dict[bytes, float] = field(default_factory=dict)
    """All tokens of a client that may have several connections, and when each was used last."""
    last_ending: Ending | None = None

    def used(self, token_hash: bytes, at: float) -> None:
        if token_hash in self.tokens:
            self.tokens[token_hash] = max(at, self.tokens[token_hash])


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
            own = self._consumers[client_id]
            client = replace(client, last_ending=own.last_ending, tokens=len(self._valid_hashes(own)))
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
            await self._revoke_claims(client_id, LossReason.DISCONNECTED)
            return True
        if change.max_connections is not None and change.max_connections < client.max_connections:
            await self._revoke_claims(client_id, LossReason.DISCONNECTED, only=self._surplus(client_id))
        if change.channels is not None:
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
        await self._revoke_claims(client_id, LossReason.DISABLED)
        return self._set_disabled(client_id, disabled=True)

    async def enable(self, client_id: str) -> bool:
        return self._set_disabled(client_id, disabled=False)

    async def remove(self, client_id: str) -> bool:
        await self._revoke_claims(client_id, LossReason.REMOVED)
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

    def _valid_hashes(self, consumer: Registered) -> set[bytes]:
        valid = {consumer.token_hash, *consumer.tokens}
        if consumer.previous_hash is not None and consumer.previous_until > self._clock.monotonic():
            valid.add(consumer.previous_hash)
        return valid

    def _held_of(self, client_id: str) -> dict[int, Connection]:
        """Return the claims of a client by slot: a copy."""
        return dict(self._connections.get(client_id, {}))

    def _drop(self, client_id: str, slot: int, at: float | None = None) -> None:
        """Delete a claim. The days that its token is valid begin now, or at another time."""
        held, consumer = self._connections[client_id].pop(slot), self._consumers[client_id]
        at = self._clock.monotonic() if at is None else at
        consumer.last_seen = max(at, consumer.last_seen)
        consumer.used(held.token_hash, at)

    async def _revoke_claims(
        self,
        client_id: str,
        reason: LossReason,
        *,
        kept: Collection[bytes] = (),
        only: Collection[UUID] | None = None,
    ) -> None:
        for slot, held in self._held_of(client_id).items():
            if held.token_hash not in kept and (only is None or held.connection_id in only):
                self._drop(client_id, slot)
                await self._notify_holder(held, reason)

    def _surplus(self, client_id: str) -> list[UUID]:
        """Return the connections that are too many: those that the policy would have refused, or have replaced."""
        client = self._clients[client_id]
        living = [held for held in self._held_of(client_id).values() if self._alive(held.node)]
        living.sort(key=lambda held: held.since, reverse=client.policy is Policy.REPLACE)
        return [held.connection_id for held in living[client.max_connections :]]

    def _alive(self, node: Node) -> bool:
        epoch, expires_in = self._lease(node)
        return epoch == node.epoch and expires_in > 0

    def _lease(self, node: Node) -> tuple[int, float]:
        return self._leases.peek(f"node/{node.name}") or (0, 0.0)

    async def _notify_holder(self, held: Connection, reason: LossReason) -> None:
        notice = ClaimLost(held.connection_id, reason)
        self._notices.setdefault(held.node.name, []).append(notice)
        await self.notify(notice)
