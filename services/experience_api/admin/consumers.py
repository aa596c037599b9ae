"""Shows the registered consumers and their connections, on all replicas, and ends connections."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from services.experience_api.admin.clients import UnknownClient
from services.experience_api.admin.views import View, consumer_view
from services.experience_api.registry.clients import Consumer
from services.experience_api.registry.notices import ConnectionDetails
from services.experience_api.registry.protocol import Connections, Consumers
from services.experience_api.sessions.details import Details


class Store(Consumers, Connections, Protocol):
    """What is shown."""


class ConsumerAdmin:
    """Shows consumers. Every method raises `Unavailable` if the registry does not answer."""

    def __init__(self, store: Store, details: Details) -> None:
        self._store = store
        self._details = details

    async def page(self, after: str, limit: int) -> list[View]:
        """Return the consumers whose ids are after `after`, by id; at most `limit` of them."""
        return await self._views(await self._store.consumers(after, limit))

    async def show(self, client_id: str) -> View:
        """Return a consumer.

        Raises:
            UnknownClient: the client does not exist, or has not registered.
        """
        found = await self._store.consumers(client_id=client_id)
        if not found:
            raise UnknownClient(client_id)
        return (await self._views(found))[0]

    async def disconnect(self, connection_id: UUID) -> str | None:
        """End a connection, which may come back; return its client, None if there is no such connection."""
        return await self._store.disconnect(connection_id)

    async def _views(self, consumers: Sequence[Consumer]) -> list[View]:
        by_node: dict[str, list[UUID]] = {}
        for consumer in consumers:
            for each in consumer.connections:
                by_node.setdefault(each.node, []).append(each.connection_id)
        details: dict[UUID, ConnectionDetails] = await self._details.of(by_node) if by_node else {}
        return [consumer_view(consumer, details) for consumer in consumers]
