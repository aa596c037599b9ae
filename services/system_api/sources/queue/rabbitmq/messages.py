"""Makes a `Message` of what RabbitMQ delivers. No I/O."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeGuard

from services.system_api.sources.queue.message import Message
from services.system_api.sources.queue.rabbitmq.client import AbstractChannel, DeliveredMessage, text_headers
from services.system_api.sources.queue.rabbitmq.inspection import Declaration

_OFFSET = "x-stream-offset"
_DELIVERIES = "x-delivery-count"
_BROKER_TIME = "timestamp_in_ms"
"""Header of the plugin that stamps messages on arrival."""
_DIGEST = 16
_PLAIN = Declaration()


def offset_of(delivered: DeliveredMessage) -> int:
    """Return the offset of a message in its stream."""
    offset = (delivered.header.properties.headers or {})[_OFFSET]
    assert isinstance(offset, int), "the broker sets it"
    return offset


def fingerprint(delivered: DeliveredMessage) -> str:
    """Return a digest of a message, to recognise it when it is read again."""
    properties = delivered.header.properties
    digest = hashlib.blake2b(delivered.body, digest_size=_DIGEST)
    digest.update(repr((delivered.routing_key, properties.message_id, properties.timestamp)).encode())
    return digest.hexdigest()


def newest_tag(messages: Iterable[Message], channel: AbstractChannel) -> int:
    """Return the highest delivery tag of those messages that this channel has delivered; 0 if there are none."""
    delivered = (message.token for message in messages)
    return max((each.delivery_tag or 0 for each in delivered if _is_of(each, channel)), default=0)


def _is_of(delivered: object, channel: AbstractChannel) -> TypeGuard[DeliveredMessage]:
    return isinstance(delivered, DeliveredMessage) and delivered.channel is channel


def from_queue(delivered: DeliveredMessage, declared: Declaration = _PLAIN) -> Message:
    """Return a message of a queue, which is declared like this."""
    properties = delivered.header.properties
    headers = properties.headers or {}
    identified = bool(properties.message_id)
    return Message(
        place=_printable(str(properties.message_id)) if identified else fingerprint(delivered),
        body=delivered.body,
        key=delivered.routing_key or "",
        headers=text_headers(headers),
        content_type=properties.content_type,
        time=_time(properties),
        identified=identified,
        deliveries=_deliveries(delivered),
        final=_final(headers, declared),
        token=delivered,
        fault=_fault(properties),
    )


def from_stream(delivered: DeliveredMessage, prefix: str) -> Message:
    """Return a message of a stream; `prefix` begins its place."""
    properties = delivered.header.properties
    headers = properties.headers or {}
    offset = offset_of(delivered)
    return Message(
        place=f"{prefix}{offset}",
        body=delivered.body,
        key=delivered.routing_key or "",
        headers=text_headers({name: value for name, value in headers.items() if name != _OFFSET}),
        content_type=properties.content_type,
        time=_time(properties),
        position=offset,
        deliveries=0,
        token=delivered,
        fault=_fault(properties),
        digest=fingerprint(delivered),
    )


def _deliveries(delivered: DeliveredMessage) -> int:
    """Return how often a message was delivered; a classic queue says only whether it was more than once."""
    count = (delivered.header.properties.headers or {}).get(_DELIVERIES)
    if isinstance(count, int):
        return count + 1
    return 2 if getattr(delivered.delivery, "redelivered", False) else 1


def _final(headers: Mapping[str, Any], declared: Declaration) -> str | None:
    """Return what the broker does with a message that it does not deliver once more."""
    count, limit = headers.get(_DELIVERIES), declared.delivery_limit
    if limit is None or not isinstance(count, int) or count < limit:
        return None
    return "sends it to its dead-letter exchange" if declared.dead_letters else "drops it"


def _time(properties: Any) -> float | None:
    stamped = (properties.headers or {}).get(_BROKER_TIME)
    if isinstance(stamped, int):
        return stamped / 1000
    return properties.timestamp.timestamp() if isinstance(properties.timestamp, datetime) else None


def _fault(properties: Any) -> str | None:
    encoding = properties.content_encoding
    if not encoding or encoding.lower() in {"identity", "utf-8", "utf8"}:
        return None
    return f"content-encoding: found {encoding[:40]!r}; expected none"


def _printable(text: str) -> str:
    """Return an id without the characters that an attribute of an event cannot have."""
    return text if text.isprintable() else text.encode("unicode_escape", errors="surrogatepass").decode()
