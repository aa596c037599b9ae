"""The registry in memory: for unit tests, with every guarantee of the protocol."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from services.experience_api import refusals
from services.experience_api.refusals import Refusal, Refused
from services.experience_api.registry.clients import NO_CLOSE_FRAME, REPLICA_LOST, Client, Connected, Consumer, Ending
from services.experience_api.registry.memory_clients import Connection, MemoryClients, Registered
from services.experience_api.registry.notices import LossReason, Notice
from services.experience_api.registry.protocol import Claim, Held, Node, OnNotice
from services.experience_api.registry.tokens import SigningKey, TokenClaims, kept_tokens

_DAY = 86_400.0


class MemoryRegistry(MemoryClients):
    """A `Registry` of one process. Nothing here awaits, so every operation is atomic."""

    async def register(self, claims: TokenClaims, overlap: float = 0.0, *, secret_hash: str | None = None) -> None:
        client = self._clients.get(claims.client_id)
        if client is None or client.disabled or secret_hash not in {None, client.secret_hash}:
            raise Refused(refusals.WRONG_CREDENTIALS)
        now, before = self._clock.monotonic(), self._consumers.get(claims.client_id)
        consumer = self._consumers[claims.client_id] = Registered(claims.token_hash, now, self._clock.now())
        if before is None:
            before = consumer
        consumer.last_ending = before.last_ending
        kept: Collection[bytes] = ()
        if client.max_connections > 1:
            kept = self._kept(before, client)
            consumer.tokens = {**kept, claims.token_hash: now}
        elif overlap and before is not consumer:
            consumer.previous_hash, consumer.previous_until = before.token_hash, now + overlap
            kept = (before.token_hash,)
        await self._revoke_claims(claims.client_id, LossReason.REPLACED, kept=kept)

    def _kept(self, before: Registered, client: Client) -> dict[bytes, float]:
        known = dict.fromkeys(self._valid_hashes(before), before.last_seen) | before.tokens
        in_use = {held.token_hash for held in self._held_of(client.client_id).values()}
        return kept_tokens(known, in_use, client.max_connections)

    async def end_overlaps(self) -> int:
        now, ended = self._clock.monotonic(), 0
        for client_id, consumer in self._consumers.items():
            if consumer.previous_hash is not None and consumer.previous_until <= now:
                consumer.previous_hash = None
                await self._revoke_claims(client_id, LossReason.REPLACED, kept=self._valid_hashes(consumer))
                ended += 1
        return ended

    async def consumers(
        self, after: str = "", limit: int | None = None, client_id: str | None = None
    ) -> list[Consumer]:
        names = sorted(name for name in self._consumers if name > after and client_id in {None, name})
        return [self._consumer(name) for name in names[:limit]]

    async def unregister(self, client_id: str) -> bool:
        await self._revoke_claims(client_id, LossReason.REMOVED)
        return self._consumers.pop(client_id, None) is not None

    async def time(self) -> float:
        return self._clock.time()

    async def use_ticket(self, ticket_hash: bytes, expires: float) -> bool:
        if ticket_hash in self._used_tickets or expires <= self._clock.time():
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
        held, living = self._held_of(client_id), self._living(client_id)
        slot = next((slot for slot, each in living.items() if each.connection_id == instead_of), None)
        if slot is None and len(living) < client.max_connections:
            slot = next(number for number in range(1, client.max_connections + 1) if number not in living)
        if slot is None:
            first, *others = (self._held(each, client) for each in sorted(living.values(), key=lambda each: each.since))
            return replace(first, others=tuple(others))
        before = held.get(slot)
        epoch = 1 if before is None else before.epoch + 1
        claimed = Connection(connection_id, node, epoch, claims.token_hash, remote, self._clock.now())
        self._connections.setdefault(client_id, {})[slot] = claimed
        if before is not None and before.connection_id == instead_of:
            await self._notify_holder(before, LossReason.TAKEN_OVER)
        elif before is not None:
            self._abandon(client_id, before)
        consumer.last_seen = self._clock.monotonic()
        for each in filter(None, (claimed, before)):
            consumer.used(each.token_hash, consumer.last_seen)
        return Claim(
            client_id,
            connection_id,
            epoch,
            client.channels,
            may_send=client.may_send,
            displaced=None if before is None else self._held(before, client),
            max_connections=client.max_connections,
        )

    async def invalid(self, tokens: Sequence[TokenClaims], good_for_days: float) -> dict[TokenClaims, Refusal]:
        found = {token: self._refusal(token, good_for_days) for token in tokens}
        return {token: refusal for token, refusal in found.items() if refusal is not None}

    async def release(self, client_id: str, connection_id: UUID, ending: Ending | None = None) -> None:
        for slot, held in self._held_of(client_id).items():
            if held.connection_id == connection_id:
                self._drop(client_id, slot)
                if ending is not None:
                    await self.note_ending(client_id, ending)

    async def note_ending(self, client_id: str, ending: Ending) -> None:
        if client_id in self._consumers:
            self._consumers[client_id].last_ending = replace(ending, at=self._clock.now())

    async def disconnect(self, connection_id: UUID) -> str | None:
        for client_id in self._connections:
            for slot, held in self._held_of(client_id).items():
                if held.connection_id == connection_id:
                    self._drop(client_id, slot)
                    await self._notify_holder(held, LossReason.DISCONNECTED)
                    return client_id
        return None

    async def held_by(self, node: Node) -> dict[UUID, str]:
        return {
            held.connection_id: client_id
            for client_id, slots in self._connections.items()
            for held in slots.values()
            if held.node == node
        }

    async def holder(self, client_id: str, connection_id: UUID) -> str | None:
        held = self._held_of(client_id).values()
        return next((each.node.name for each in held if each.connection_id == connection_id), None)

    async def at_limit(self, client_ids: Sequence[str]) -> set[str]:
        known = (name for name in client_ids if name in self._clients)
        return {name for name in known if len(self._living(name)) >= self._clients[name].max_connections}

    async def release_dead(self, after: float = 0.0) -> int:
        dead = [
            (client_id, slot)
            for client_id, slots in self._connections.items()
            for slot, held in slots.items()
            if self._dead_for(held.node, after)
        ]
        for client_id, slot in dead:
            held = self._connections[client_id][slot]
            self._abandon(client_id, held)
            self._drop(client_id, slot, self._clock.monotonic() + min(self._lease(held.node)[1], 0.0))
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
        own, living = self._consumers[client_id], self._living(client_id).values()
        seen = self._clock.now() - timedelta(seconds=self._clock.monotonic() - self._last_seen(client_id))
        connections = (Connected(each.connection_id, each.node.name, each.remote, each.since) for each in living)
        return Consumer(
            client_id, own.registered_at, seen, tuple(connections), own.last_ending, len(self._valid_hashes(own))
        )

    def _abandon(self, client_id: str, held: Connection) -> None:
        """Note that a connection has ended with its node."""
        epoch, expires_in = self._lease(held.node)
        at = self._clock.now() + timedelta(seconds=min(expires_in, 0.0) if epoch == held.node.epoch else 0.0)
        lasted = max(0.0, (at - held.since).total_seconds())
        self._consumers[client_id].last_ending = Ending(NO_CLOSE_FRAME, REPLICA_LOST, lasted, at)

    def _living(self, client_id: str) -> dict[int, Connection]:
        return {slot: held for slot, held in self._held_of(client_id).items() if self._alive(held.node)}

    def _held(self, held: Connection, client: Client) -> Held:
        return Held(held.connection_id, held.node.name, held.remote, held.since, client.policy, client.max_connections)

    def _refusal(self, token: TokenClaims, good_for_days: float) -> Refusal | None:
        client, consumer = self._clients.get(token.client_id), self._consumers.get(token.client_id)
        if client is None or consumer is None or token.token_hash not in self._valid_hashes(consumer):
            return refusals.TOKEN_REFUSED
        if client.disabled:
            return refusals.CLIENT_DISABLED
        return refusals.TOKEN_EXPIRED if self._expired(token, good_for_days) else None

    def _expired(self, token: TokenClaims, good_for_days: float) -> bool:
        consumer, used = self._consumers[token.client_id], token.token_hash
        older = used in consumer.tokens and used != consumer.token_hash
        seen = self._last_seen(token.client_id, used if older else None)
        return seen <= self._clock.monotonic() - good_for_days * _DAY

    def _dead_for(self, node: Node, seconds: float) -> bool:
        epoch, expires_in = self._lease(node)
        return epoch != node.epoch or expires_in <= -seconds

    def _last_seen(self, client_id: str, token: bytes | None = None) -> float:
        """Return when the consumer was last connected, or was with a token that is not its newest.

        Its node's lease tells if its claim was never released.
        """
        consumer = self._consumers[client_id]
        seen = consumer.last_seen if token is None else consumer.tokens[token]
        for held in self._held_of(client_id).values():
            epoch, expires_in = self._lease(held.node)
            if epoch >= held.node.epoch and token in {None, held.token_hash}:
                seen = max(seen, self._clock.monotonic() + min(expires_in, 0.0))
        return seen
