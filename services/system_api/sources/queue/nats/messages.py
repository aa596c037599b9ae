"""Makes a `Message` of what a JetStream consumer delivers. No I/O."""

from typing import NamedTuple

from services.system_api.sources.queue.message import Message
from services.system_api.sources.queue.nats.client import Msg, UnreadableHeaders

_CONTENT_TYPE = "content-type"
_UNREADABLE = "the headers cannot be read; expected NATS/1.0 and lines of names and values"
_PLAIN = 9
"""Tokens of a reply subject in the first form; the second one has the domain and the account in front."""


class Delivery(NamedTuple):
    """What the reply subject of a message tells.

    Source: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-15.md
    """

    deliveries: int
    sequence: int
    """In the stream."""
    consumer_sequence: int
    """In the order of deliveries of the consumer."""
    time: float
    """When it was stored, in seconds since 1970."""
    pending: int
    """Messages of the stream that the consumer has not delivered yet."""


def delivery_of(reply: str) -> Delivery:
    """Read the reply subject of a message."""
    tokens = reply.split(".")
    first = 4 if len(tokens) == _PLAIN else 6
    deliveries, sequence, consumer_sequence, nanoseconds, pending = map(int, tokens[first : first + 5])
    return Delivery(deliveries, sequence, consumer_sequence, nanoseconds / 1e9, pending)


def message_of(msg: Msg, delivery: Delivery, prefix: str, max_deliver: int = -1) -> Message:
    """Return the message; `prefix` begins its place. Its consumer delivers it `max_deliver` times; -1: without end."""
    headers = msg.headers or {}
    content_type = next((value for name, value in headers.items() if name.lower() == _CONTENT_TYPE), None)
    return Message(
        place=f"{prefix}{delivery.sequence}",
        body=msg.data,
        key=msg.subject,
        headers=headers,
        content_type=content_type,
        time=delivery.time,
        position=delivery.sequence,
        deliveries=delivery.deliveries,
        final="delivers it no more" if 0 < max_deliver <= delivery.deliveries else None,
        token=msg.reply,
        fault=_UNREADABLE if isinstance(msg.headers, UnreadableHeaders) else None,
    )
