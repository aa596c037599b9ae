"""Changes what a living connection receives, on whichever replica it is."""

import asyncio
import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast
from uuid import UUID

from services.experience_api import refusals
from services.experience_api.refusals import NOT_CONNECTED, UNAVAILABLE, Refused
from services.experience_api.registry.notices import SubscriptionRequest, SubscriptionResult
from services.experience_api.registry.protocol import Registry
from services.experience_api.sessions.changes import Change
from services.experience_api.sessions.slots import ConnectionSlot
from shared.errors import Unavailable

logger = logging.getLogger(__name__)

_TIMEOUT = 10.0
"""Seconds in which a change is made: a connection that catches up is written what was read for it before."""
_ANSWER_TIMEOUT = 12.0
"""Seconds in which another replica answers."""
_PENDING_LIMIT = 16
"""Changes of one connection that are not made yet, because it reads slowly. Each holds up to a thousand names."""
_BY_CODE = {refusal.code: refusal for refusal in refusals.ALL}


class Subscribed(NamedTuple):
    """What a connection receives after a change."""

    channels: tuple[str, ...]
    cursor: str
    """From which on it does; empty if the connection has not begun yet."""


class Subscriptions:
    """Makes changes of this replica's connections, and asks other replicas to make theirs."""

    def __init__(self, registry: Registry, slots: Mapping[UUID, ConnectionSlot], node: str) -> None:
        self._registry = registry
        self._slots = slots
        self._node = node
        self._waiting: dict[UUID, asyncio.Future[SubscriptionResult]] = {}
        self._pending: dict[ConnectionSlot, int] = {}
        """How many changes of a connection are not made yet."""

    async def change(self, client_id: str, change: Change) -> Subscribed:
        """Change what a connection of a client receives, and return what it receives from which cursor on.

        Raises:
            Refused: `NOT_CONNECTED`; `CHANNEL_NOT_PERMITTED`; `MALFORMED`; `UNAVAILABLE`: it was not made in time, or
                it is not known whether it was.
            Unavailable: the registry does not answer.
        """
        slot = self._slots.get(change.connection)
        if slot is not None and slot.token.client_id == client_id:
            return await self._made(slot, change)
        node = await self._registry.holder(client_id, change.connection)
        if node is None or node == self._node:
            raise Refused(NOT_CONNECTED)
        return await self._asked(node, change)

    async def answer(self, request: SubscriptionRequest) -> None:
        """Make the change that another replica asks for, which has found out that the client may."""
        change = Change(
            request.connection_id,
            request.channels,
            request.subscribe,
            request.unsubscribe,
            request.filters,
            request.conflate,
        )
        try:
            channels, cursor = await self._made(self._slots.get(request.connection_id), change)
            result = SubscriptionResult(request.request_id, channels, cursor)
        except Refused as exc:
            result = SubscriptionResult(request.request_id, refusal=exc.refusal.code, detail=exc.detail)
        try:
            await self._registry.leave(request.reply_to, result)
        except Unavailable as exc:
            extra = {"connection_id": str(request.connection_id), "error": str(exc)}
            logger.warning("subscription answer failed", extra=extra)

    def on_result(self, result: SubscriptionResult) -> None:
        """Handle the answer of another replica; one that is not waited for is ignored."""
        waiter = self._waiting.get(result.request_id)
        if waiter is not None and not waiter.done():
            waiter.set_result(result)

    async def refresh_grants(self, slots: Sequence[ConnectionSlot]) -> None:
        """Permit what the clients of these connections may read now.

        Raises:
            Unavailable: the registry does not answer.
        """
        before = [slot.grants for slot in slots]
        granted = await self._registry.channels(list({slot.token.client_id for slot in slots}))
        for slot, grants in zip(slots, before, strict=True):
            # A notice that has arrived meanwhile is newer than the response.
            if slot.token.client_id in granted and slot.grants == grants:
                slot.grant(granted[slot.token.client_id])

    async def _made(self, slot: ConnectionSlot | None, change: Change) -> Subscribed:
        if slot is None or slot.claim is None or slot.lost is not None or not slot.admitted:
            raise Refused(NOT_CONNECTED)
        pending = self._pending.get(slot, 0)
        if pending >= _PENDING_LIMIT:
            raise Refused(UNAVAILABLE, f"the connection reads slowly; {pending} changes are not made yet")
        changing = slot.change(change)
        channels = slot.subscriber.interest.patterns
        if changing is None:
            return Subscribed(channels, "")
        made = cast("asyncio.Future[bytes | None]", changing)
        self._pending[slot] = pending + 1
        made.add_done_callback(lambda _: self._done(slot))
        try:
            async with asyncio.timeout(_TIMEOUT):
                cursor = await asyncio.shield(made)  # it is made later otherwise, and the subscriber is told
        except TimeoutError as exc:
            detail = "the connection reads slowly; 'trelay.subscribed' tells when it is changed"
            raise Refused(UNAVAILABLE, detail) from exc
        if cursor is None:
            raise Refused(NOT_CONNECTED, "the connection has ended")
        return Subscribed(channels, cursor.decode())

    def _done(self, slot: ConnectionSlot) -> None:
        self._pending[slot] -= 1
        if not self._pending[slot]:
            del self._pending[slot]

    async def _asked(self, node: str, change: Change) -> Subscribed:
        request = SubscriptionRequest(
            change.connection,
            uuid.uuid4(),
            self._node,
            change.channels,
            change.subscribe,
            change.unsubscribe,
            dict(change.filters),
            change.conflate,
        )
        result: asyncio.Future[SubscriptionResult] = asyncio.get_running_loop().create_future()
        self._waiting[request.request_id] = result
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT):
                await self._registry.leave(node, request)
                found = await result
        except TimeoutError as exc:
            raise Refused(UNAVAILABLE, "the replica of the connection does not answer; try again") from exc
        finally:
            del self._waiting[request.request_id]
        if found.refusal:
            raise Refused(_BY_CODE.get(found.refusal, UNAVAILABLE), found.detail)
        return Subscribed(found.channels, found.cursor)
