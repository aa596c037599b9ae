"""What operators are shown, as JSON. Sans-I/O."""

from datetime import UTC, datetime
from typing import Any

from services.experience_api.registry.protocol import Client

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
        "note": client.note,
        "created_at": time_view(client.created_at),
        "previous_secret_until": time_view(client.previous_secret_until),
    }


def time_view(moment: datetime | None) -> str | None:
    """Return a time in RFC 3339, in UTC."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
