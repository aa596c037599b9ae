"""Claims the one connection of a client, on whichever replica another one may be.

When another connection of the client holds the claim, that one is probed: directly on this replica, by a notice on
another one. A holder that answers keeps the claim; one that does not is displaced.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from services.experience_api.hub import close_codes
from services.experience_api.refusals import ALREADY_CONNECTED, Refused
from services.experience_api.registry.clients import Policy
from services.experience_api.registry.protocol import Claim, Held, Registry
from services.experience_api.sessions.claiming.probes import Probes
from services.experience_api.sessions.close_reasons import already_connected
from services.experience_api.sessions.node import NodeLease
from services.experience_api.sessions.slots import ConnectionSlot
from shared.http.origin import Origin

Announce = Callable[[UUID], Awaitable[None]]
"""Tells all replicas, not through the database, that a connection was taken over."""


@dataclass(frozen=True, slots=True)
class _Claiming:
    """An attempt to claim, and its end."""

    slot: ConnectionSlot
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Claims:
    """Makes the claims of this replica."""

    def __init__(
        self,
        registry: Registry,
        node: NodeLease,
        slots: Mapping[UUID, ConnectionSlot],
        probes: Probes,
        good_for_days: float,
        announce: Announce | None,
    ) -> None:
        """`slots` are those of this replica; `good_for_days` is how long a token is valid after its last connection."""
        self._registry = registry
        self._node = node
        self._slots = slots
        self._probes = probes
        self._good_for_days = good_for_days
        self._announce = announce
        self._claiming: dict[str, _Claiming] = {}

    async def claim(self, slot: ConnectionSlot, origin: Origin) -> Claim:
        """Claim the one connection of the client for a slot.

        Raises:
            Refused: `ALREADY_CONNECTED`, or what `Registry.claim` refuses.
            Unavailable: the registry does not answer.
        """
        async with self._alone(slot):
            return await self._claim(slot, origin)

    @asynccontextmanager
    async def _alone(self, slot: ConnectionSlot) -> AsyncIterator[None]:
        """Hold the one attempt of a client to claim; wait for an earlier one whose peer has disconnected."""
        client_id = slot.token.client_id
        earlier = self._claiming.get(client_id)
        if earlier is not None and earlier.slot.gone():
            await earlier.ended.wait()
        if client_id in self._claiming:
            raise Refused(ALREADY_CONNECTED, "another connection of this client is being opened")
        self._claiming[client_id] = current = _Claiming(slot)
        try:
            yield
        finally:
            del self._claiming[client_id]
            current.ended.set()

    async def _claim(self, slot: ConnectionSlot, origin: Origin) -> Claim:
        claim = partial(
            self._registry.claim,
            slot.token,
            slot.connection_id,
            remote=str(origin.address),
            loopback=origin.loopback,
            good_for_days=self._good_for_days,
        )
        node = self._node.current()
        verdict = await claim(node)
        if isinstance(verdict, Held) and await self._gives_way(verdict):
            silent = verdict.connection_id
            verdict = await claim(node, instead_of=silent)
            if isinstance(verdict, Claim) and silent in self._slots:
                self._slots[silent].lose(close_codes.TAKEN_OVER)
        if isinstance(verdict, Held):
            raise already_connected(verdict)
        displaced = verdict.displaced
        if displaced is not None and displaced.node != self._node.name and self._announce is not None:
            # Its node receives no notice if it cannot reach the database, and still delivers.
            await self._announce(displaced.connection_id)
        return verdict

    async def _gives_way(self, held: Held) -> bool:
        """Return whether a connection is to be replaced by another one of its client."""
        if held.policy is Policy.PROBE:
            return not await self._probes.responds(held, self._node.name)
        return held.policy is Policy.REPLACE
