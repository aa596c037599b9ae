"""What operators are shown, as JSON. Sans-I/O."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.experience_api.registry.clients import Client, Connected, Consumer
from services.experience_api.registry.notices import ConnectionDetails

View = dict[str, Any]
"""A JSON object."""


def client_view(client: Client) -> View:
    """Return a client without its secrets."""
    return {
        "client_id": client.client_id,
        "channels": list(client.channels),
        "may_send": client.may_send,
        "loopback_only": client.loopback_only,
        "disabled": client.disabled,
        "policy": client.policy.value,
        "max_connections": client.max_connections,
        "note": client.note,
        "created_at": time_view(client.created_at),
        "previous_secret_until": time_view(client.previous_secret_until),
    }


def time_view(moment: datetime | None) -> str | None:
    """Return a time in RFC 3339, in UTC."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def consumer_view(consumer: Consumer, details: Mapping[UUID, ConnectionDetails]) -> View:
    """Return a registered client with its connections. What a replica has not told of its own is null."""
    return {
        "client_id": consumer.client_id,
        "registered_at": time_view(consumer.registered_at),
        "last_seen_at": None if consumer.connections else time_view(consumer.last_seen_at),
        "connections": [connection_view(each, details.get(each.connection_id)) for each in consumer.connections],
    }


def connection_view(connection: Connected, details: ConnectionDetails | None) -> View:
    """Return a connection."""
    return {
        "connection_id": str(connection.connection_id),
        "node": connection.node,
        "from": connection.remote,
        "since": time_view(connection.since),
        "channels": None if details is None else list(details.channels),
        "cursor": None if details is None else details.cursor,
        "live": None if details is None else details.live,
        "lag": None if details is None else details.lag,
        "buffered_bytes": None if details is None else details.buffered,
        "acknowledged_bytes": None if details is None else details.acknowledged,
    }
