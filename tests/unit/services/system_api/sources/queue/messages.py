"""Makes events of messages, for tests."""

import json
import random
from typing import Any

from services.system_api.sources.queue.events import MessageEvents
from services.system_api.sources.queue.message import Message
from services.system_api.sources.queue.options import QueueSourceOptions
from services.system_api.sources.source import EventBuilder
from shared.events.event import Channel, decode, validate
from shared.runtime.clock import SYSTEM_CLOCK


def maker(channel: str | None = None, **options: Any) -> MessageEvents:
    builder = EventBuilder(
        "orders", "order.seen", None if channel is None else Channel(channel), SYSTEM_CLOCK, random.Random(1)
    )
    return MessageEvents(builder, QueueSourceOptions.model_validate({"type": "order.seen", **options}), "q")


def event_of(message: Message, channel: str | None = None, **options: Any) -> dict[str, Any]:
    """Return the event of a message; it is valid."""
    made = maker(channel, **options)
    made.begin_batch()
    value = made.event(message).value or b""
    validate(decode(value))
    event: dict[str, Any] = json.loads(value)
    return event
