"""Claims a connection of a client, on whichever replicas others of its connections may be.

A client has one connection, or as many as it may have. When others hold the claims to all of them, these are probed:
directly on this replica, by a notice on another one. A holder that answers keeps its claim; one that does not is
displaced.
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

_ANSWER_WAIT = 1.0
"""Seconds. The registry answers within milliseconds, unless it is overloaded."""

Announce = Callable[[UUID], Awaitable[None]]
"""Tells all replicas, not through the database, that a connection was taken over."""


@dataclass(slots=True)
class _Claiming:
    """An attempt to claim."""

    slot: ConnectionSlot
    limit: int = 1
    """How many connections the client may have, once the registry has answered."""
    answered: asyncio.Event = field(default_factory=asyncio.Event)
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
        async with self._alone(slot) as claiming:
            return await self._claim(slot, origin, claiming)

    @asynccontextmanager
    async def _alone(self, slot: ConnectionSlot) -> AsyncIterator[_Claiming]:
        """Hold the one attempt to claim of a client that may have one connection.

        An earlier one is waited for: a moment for the answer of the registry, which says how many connections the
        client may have, or to its end if its peer has disconnected.
        """
        client_id = slot.token.client_id
        while (earlier := self._claiming.get(client_id)) is not None and earlier.limit == 1:
            if earlier.slot.gone():
                await earlier.ended.wait()
            elif earlier.answered.is_set() or not await _answered_soon(earlier):
                detail = "another connection of this client is being opened"
                raise Refused(ALREADY_CONNECTED, detail, retry_after=_ANSWER_WAIT)
        current = _Claiming(slot)
        _ = self._claiming.setdefault(client_id, current)
        try:
            yield current
        finally:
            if self._claiming.get(client_id) is current:
                del self._claiming[client_id]
            current.answered.set()
            current.ended.set()

    async def _claim(self, slot: ConnectionSlot, origin: Origin, claiming: _Claiming) -> Claim:
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
        claiming.limit = verdict.max_connections
        claiming.answered.set()
        if isinstance(verdict, Held) and (silent := await self._to_replace(verdict)) is not None:
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

    async def _to_replace(self, held: Held) -> UUID | None:
        """Return the connection to replace by another one of its client; None if all of them stay."""
        if held.policy is Policy.REPLACE:
            return held.connection_id
        if held.policy is Policy.REJECT:
            return None
        holders = (held, *held.others)
        alive = await asyncio.gather(*(self._probes.responds(each, self._node.name) for each in holders))
        return next((each.connection_id for each, lives in zip(holders, alive, strict=True) if not lives), None)


async def _answered_soon(claiming: _Claiming) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_WAIT):
            return await claiming.answered.wait()
    except TimeoutError:
        return False
