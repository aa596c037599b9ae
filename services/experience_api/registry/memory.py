"""The registry in memory: for unit tests, with every guarantee of the protocol."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from services.experience_api import refusals
from services.experience_api.refusals import Refusal, Refused
from services.experience_api.registry.clients import Client, Connected, Consumer
from services.experience_api.registry.memory_clients import Connection, MemoryClients, Registered
from services.experience_api.registry.notices import LossReason, Notice
from services.experience_api.registry.protocol import Claim, Held, Node, OnNotice
from services.experience_api.registry.tokens import SigningKey, TokenClaims

_DAY = 86_400.0


class MemoryRegistry(MemoryClients):
    """A `Registry` of one process. Nothing here awaits, so every operation is atomic."""

    async def register(self, claims: TokenClaims, overlap: float = 0.0) -> None:
        client = self._clients.get(claims.client_id)
        if client is None or client.disabled:
            raise Refused(refusals.WRONG_CREDENTIALS)
        now, before = self._clock.monotonic(), self._consumers.get(claims.client_id)
        consumer = self._consumers[claims.client_id] = Registered(claims.token_hash, now, self._clock.now())
        if overlap and before is not None:
            consumer.previous_hash, consumer.previous_until = before.token_hash, now + overlap
        await self._revoke_claim(claims.client_id, LossReason.REPLACED, consumer.previous_hash)

    async def end_overlaps(self) -> int:
        now, ended = self._clock.monotonic(), 0
        for client_id, consumer in self._consumers.items():
            if consumer.previous_hash is not None and consumer.previous_until <= now:
                consumer.previous_hash = None
                await self._revoke_claim(client_id, LossReason.REPLACED, consumer.token_hash)
                ended += 1
        return ended

    async def consumers(
        self, after: str = "", limit: int | None = None, client_id: str | None = None
    ) -> list[Consumer]:
        names = sorted(name for name in self._consumers if name > after and client_id in {None, name})
        return [self._consumer(name) for name in names[:limit]]

    async def unregister(self, client_id: str) -> bool:
        await self._revoke_claim(client_id, LossReason.REMOVED)
        return self._consumers.pop(client_id, None) is not None

    async def use_ticket(self, ticket_hash: bytes) -> bool:
        if ticket_hash in self._used_tickets:
            return False
        self._used_tickets.add(ticket_hash)
        return True

    async def signing_key(self, fresh: SigningKey) -> SigningKey:
        if self._signing_key is None:
            self._signing_key = fresh
        return self._signing_key

    async def claim(
        self,
        claims: TokenClaims,
        connection_id: UUID,
        node: Node,
        *,
        remote: str,
        loopback: bool,
        good_for_days: float,
        instead_of: UUID | None = None,
    ) -> Claim | Held:
        client_id = claims.client_id
        refusal = self._refusal(claims, good_for_days)
        if refusal is not None and refusal is not refusals.TOKEN_EXPIRED:
            raise Refused(refusal)
        client, consumer = self._clients[client_id], self._consumers[client_id]
        if client.loopback_only and not loopback:
            raise Refused(refusals.LOOPBACK_ONLY)
        if refusal is not None:
            raise Refused(refusal)
        if not self._alive(node):
            raise Refused(refusals.UNAVAILABLE, "this replica has lost its lease; try again")
        held = self._connections.get(client_id)
        if held is not None and self._alive(held.node) and held.connection_id != instead_of:
            return self._held(held, client)
        epoch = 1 if held is None else held.epoch + 1
        self._connections[client_id] = Connection(
            connection_id, node, epoch, claims.token_hash, remote, self._clock.now()
        )
        consumer.last_seen = self._clock.monotonic()
        if held is not None and held.connection_id == instead_of:
            await self._notify_holder(held, LossReason.TAKEN_OVER)
        displaced = None if held is None else self._held(held, client)
        return Claim(client_id, connection_id, epoch, client.channels, may_send=client.may_send, displaced=displaced)

    async def invalid(self, tokens: Sequence[TokenClaims], good_for_days: float) -> dict[TokenClaims, Refusal]:
        found = {token: self._refusal(token, good_for_days) for token in tokens}
        return {token: refusal for token, refusal in found.items() if refusal is not None}

    async def release(self, client_id: str, connection_id: UUID) -> None:
        held = self._connections.get(client_id)
        if held is not None and held.connection_id == connection_id:
            self._consumers[client_id].last_seen = self._clock.monotonic()
            del self._connections[client_id]

    async def disconnect(self, connection_id: UUID) -> str | None:
        for client_id, held in self._connections.items():
            if held.connection_id == connection_id:
                self._consumers[client_id].last_seen = self._clock.monotonic()
                await self._revoke_claim(client_id, LossReason.DISCONNECTED)
                return client_id
        return None

    async def held_by(self, node: Node) -> dict[UUID, str]:
        return {held.connection_id: client_id for client_id, held in self._connections.items() if held.node == node}

    async def holder(self, client_id: str, connection_id: UUID) -> str | None:
        held = self._connections.get(client_id)
        return held.node.name if held is not None and held.connection_id == connection_id else None

    async def connected(self, client_ids: Sequence[str]) -> set[str]:
        found = {client_id: held for client_id, held in self._connections.items() if client_id in client_ids}
        return {client_id for client_id, held in found.items() if self._alive(held.node)}

    async def release_dead(self, after: float = 0.0) -> int:
        dead = [client_id for client_id, held in self._connections.items() if self._dead_for(held.node, after)]
        for client_id in dead:
            self._consumers[client_id].last_seen = self._last_seen(client_id)
            del self._connections[client_id]
        return len(dead)

    async def take_notices(self, node: Node) -> list[Notice]:
        return self._notices.pop(node.name, [])

    @asynccontextmanager
    async def listening(self, on_notice: OnNotice) -> AsyncIterator[None]:
        self._listeners.append(on_notice)
        try:
            on_notice(None)
            yield
        finally:
            self._listeners.remove(on_notice)

    def _consumer(self, client_id: str) -> Consumer:
        own, held = self._consumers[client_id], self._connections.get(client_id)
        seen = self._clock.now() - timedelta(seconds=self._clock.monotonic() - self._last_seen(client_id))
        living = () if held is None or not self._alive(held.node) else (held,)
        connections = (Connected(each.connection_id, each.node.name, each.remote, each.since) for each in living)
        return Consumer(client_id, own.registered_at, seen, tuple(connections))

    def _held(self, held: Connection, client: Client) -> Held:
        return Held(held.connection_id, held.node.name, held.remote, held.since, client.policy)

    def _refusal(self, token: TokenClaims, good_for_days: float) -> Refusal | None:
        client, consumer = self._clients.get(token.client_id), self._consumers.get(token.client_id)
        if client is None or consumer is None or token.token_hash not in self._valid_hashes(consumer):
            return refusals.TOKEN_REFUSED
        if client.disabled:
            return refusals.CLIENT_DISABLED
        return refusals.TOKEN_EXPIRED if self._expired(token.client_id, good_for_days) else None

    def _valid_hashes(self, consumer: Registered) -> set[bytes | None]:
        overlaps = consumer.previous_until > self._clock.monotonic()
        return {consumer.token_hash, consumer.previous_hash} if overlaps else {consumer.token_hash}

    def _expired(self, client_id: str, good_for_days: float) -> bool:
        return self._last_seen(client_id) <= self._clock.monotonic() - good_for_days * _DAY

    def _alive(self, node: Node) -> bool:
        epoch, expires_in = self._lease(node)
        return epoch == node.epoch and expires_in > 0

    def _dead_for(self, node: Node, seconds: float) -> bool:
        epoch, expires_in = self._lease(node)
        return epoch != node.epoch or expires_in <= -seconds

    def _last_seen(self, client_id: str) -> float:
        """Return when the consumer was last connected. Its node's lease tells if its claim was never released."""
        seen = self._consumers[client_id].last_seen
        held = self._connections.get(client_id)
        if held is None:
            return seen
        epoch, expires_in = self._lease(held.node)
        return max(seen, self._clock.monotonic() + min(expires_in, 0.0)) if epoch >= held.node.epoch else seen

    def _lease(self, node: Node) -> tuple[int, float]:
        return self._leases.peek(f"node/{node.name}") or (0, 0.0)
