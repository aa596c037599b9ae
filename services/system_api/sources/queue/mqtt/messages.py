"""Makes a `Message` of what an MQTT broker delivers. No I/O."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from services.system_api.sources.queue.message import Message

_DIGEST = 16


class Delivery(NamedTuple):
    """A PUBLISH packet. Source: MQTT 5.0, 3.3."""

    topic: str
    payload: bytes
    packet: int
    """The packet identifier, which acknowledges it; 0 with QoS 0."""
    again: bool
    """Whether it was delivered before (DUP)."""
    content_type: str | None
    properties: Mapping[str, str]
    """User properties."""


def digest_of(delivery: Delivery) -> str:
    """Return what tells a message from others: its topic, payload and user properties."""
    digest = hashlib.blake2b(delivery.payload, digest_size=_DIGEST)
    digest.update(repr((delivery.topic, sorted(delivery.properties.items()))).encode(errors="surrogatepass"))
    return digest.hexdigest()


def message_of(delivery: Delivery, message_id: str | None, token: object) -> Message:
    """Return the message; `message_id` is the user property that identifies it."""
    identity = None if message_id is None else delivery.properties.get(message_id)
    return Message(
        place=identity if identity and identity.isprintable() else digest_of(delivery),
        body=delivery.payload,
        key=delivery.topic,
        headers=delivery.properties,
        content_type=delivery.content_type,
        identified=bool(identity),
        deliveries=2 if delivery.again else 1,
        token=token,
    )
