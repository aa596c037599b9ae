"""Makes a `Message` of a record of Kafka. No I/O."""

import base64
from collections.abc import Iterable

from services.system_api.sources.queue.message import Message
from shared.bus.protocol import Record

_CONTENT_TYPE = "content-type"
_NULL = b"null"


def partition_name(topic: str, number: int) -> str:
    """Return the name of a partition in the checkpoint."""
    return f"{topic}/{number}"


def message_of(record: Record, prefix: str) -> Message:
    """Return the message of a record; `prefix` begins its place.

    A record without a value, which deletes its key, is JSON's null.
    """
    headers = headers_of(record.headers)
    partition = partition_name(record.topic, record.partition)
    content_type = next((value for name, value in headers.items() if name.lower() == _CONTENT_TYPE), None)
    deletes = record.value is None
    return Message(
        place=f"{prefix}{partition}/{record.offset}",
        body=_NULL if record.value is None else record.value,
        key="" if record.key is None else text_of(record.key),
        headers=headers,
        content_type=None if deletes else content_type,
        time=record.timestamp / 1000,
        position=record.offset,
        partition=partition,
        deliveries=0,
    )


def headers_of(found: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Return headers as text; of several of one name the last one counts, and those without a value are left out."""
    return {name: text_of(value) for name, value in found if value is not None}


def text_of(value: bytes) -> str:
    """Return bytes as text: UTF-8, or Base64 where they are none."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
