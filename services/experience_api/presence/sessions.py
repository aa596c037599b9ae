"""What becomes of a connection that has come or left: an event, and the key that it is published once by. Sans-I/O."""

import hashlib
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from services.experience_api.producers.once.keys import Guarded, Key
from services.experience_api.stream.control_events import PRESENCE_CHANNEL
from shared.bus.protocol import Outgoing
from shared.events import event
from shared.events.headers import Provenance
from shared.runtime.clock import rfc3339

SOURCE = "/presence"
CAME, LEFT = "came", "left"
_PROVENANCE = "presence"

_json = msgspec.json.Encoder().encode


class Noted(NamedTuple):
    """One row that the database has noted."""

    id: int
    client_id: str
    connection_id: UUID
    kind: str
    """`CAME` or `LEFT`."""
    connected_at: datetime
    at: datetime


def guarded(noted: Noted) -> Guarded:
    """Return the event of a row, and its key: of each connection, one event of each kind is published."""
    identity = f"{noted.connection_id}/{noted.kind}"
    value = {
        "specversion": "1.0",
        "id": identity,
        "source": SOURCE,
        "type": f"trelay.presence.{noted.kind}",
        "subject": noted.client_id,
        "time": rfc3339(noted.at.timestamp()),
        "channel": PRESENCE_CHANNEL,
        "datacontenttype": "application/json",
        "data": {
            "client_id": noted.client_id,
            "connection": str(noted.connection_id),
            "connected_at": rfc3339(noted.connected_at.timestamp()),
        },
    }
    text = event.encode({name: msgspec.Raw(_json(found)) for name, found in value.items()})
    headers = Provenance(_PROVENANCE, int(noted.at.timestamp() * 1000), identity).headers()
    digest = hashlib.sha256(f"presence {identity}".encode()).digest()
    return Guarded(Key(digest, None), [Outgoing(PRESENCE_CHANNEL.encode(), text, headers)])
