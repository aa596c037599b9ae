"""What operators are shown, as JSON. Sans-I/O."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.experience_api.registry.clients import Client, Connected, Consumer, Ending
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
        "tokens": client.tokens,
        "last_ending": ending_view(client.last_ending),
    }


def time_view(moment: datetime | None) -> str | None:
    """Return a time in RFC 3339, in UTC."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def ending_view(ending: Ending | None) -> View | None:
    """Return how a connection ended."""
    if ending is None:
        return None
    return {
        "at": time_view(ending.at),
        "code": ending.code,
        "reason": ending.reason,
        "lasted_seconds": round(ending.lasted, 1),
    }


def ending_text(ending: View | None) -> str:
    """Return how a connection ended as one line; empty for None."""
    if ending is None:
        return ""
    return f"{ending['at']} {ending['code']} {ending['reason']}, after {ending['lasted_seconds']:.0f} s"


def consumer_view(consumer: Consumer, details: Mapping[UUID, ConnectionDetails]) -> View:
    """Return a registered client with its connections. What a replica has not told of its own is null."""
    return {
        "client_id": consumer.client_id,
        "registered_at": time_view(consumer.registered_at),
        "last_seen_at": None if consumer.connections else time_view(consumer.last_seen_at),
        "tokens": consumer.tokens,
        "last_ending": ending_view(consumer.last_ending),
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
