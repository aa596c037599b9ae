"""What the replicas know of their connections beside what the database says: for operators."""

import asyncio
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from services.experience_api.registry.notices import ConnectionDetails, DetailsRequest, DetailsResult
from services.experience_api.registry.protocol import Registry
from services.experience_api.sessions.slots import ConnectionSlot
from shared.errors import Unavailable

logger = logging.getLogger(__name__)

_ANSWER_TIMEOUT = 3.0
"""Seconds in which another replica answers."""


class Details:
    """Describes the connections of this replica, and asks other replicas for theirs."""

    def __init__(self, registry: Registry, slots: Mapping[UUID, ConnectionSlot], node: str) -> None:
        self._registry = registry
        self._slots = slots
        self._node = node
        self._waiting: dict[UUID, asyncio.Future[DetailsResult]] = {}

    async def of(self, connections: Mapping[str, Sequence[UUID]]) -> dict[UUID, ConnectionDetails]:
        """Return what is known of connections, given by the node that holds each.

        What a node does not answer in time is missing, as are connections that have ended.

        Raises:
            Unavailable: the registry does not answer.
        """
        asked = [self._of_node(node, each) for node, each in connections.items()]
        return {each.connection_id: each for found in await asyncio.gather(*asked) for each in found}

    async def answer(self, request: DetailsRequest) -> None:
        """Answer another replica."""
        result = DetailsResult(request.request_id, self._own(request.connections))
        try:
            await self._registry.leave(request.reply_to, result)
        except Unavailable as exc:
            logger.warning("details of connections not answered", extra={"error": str(exc)})

    def on_result(self, result: DetailsResult) -> None:
        """Handle the answer of another replica; one that is not waited for is ignored."""
        waiter = self._waiting.get(result.request_id)
        if waiter is not None and not waiter.done():
            waiter.set_result(result)

    def _own(self, connections: Iterable[UUID]) -> tuple[ConnectionDetails, ...]:
        found = [slot.details() for each in connections if (slot := self._slots.get(each)) is not None]
        return tuple(each for each in found if each is not None)

    async def _of_node(self, node: str, connections: Sequence[UUID]) -> tuple[ConnectionDetails, ...]:
        if node == self._node:
            return self._own(connections)
        request = DetailsRequest(uuid.uuid4(), self._node, tuple(connections))
        result: asyncio.Future[DetailsResult] = asyncio.get_running_loop().create_future()
        self._waiting[request.request_id] = result
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT):
                await self._registry.leave(node, request)
                return (await result).details
        except TimeoutError:
            return ()
        finally:
            del self._waiting[request.request_id]
