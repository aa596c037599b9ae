"""Makes a `Message` of an entry of a Redis stream. No I/O."""

import json
from collections.abc import Mapping

from services.system_api.sources.queue.message import Message

EntryId = tuple[int, int]
"""Milliseconds, and a number within them."""

_CONTENT_TYPE = "content-type"
_YEAR_2000 = 946_684_800_000


def parse_id(text: bytes | str) -> EntryId:
    """Return the id of an entry."""
    milliseconds, _, number = (text if isinstance(text, str) else text.decode()).partition("-")
    return int(milliseconds), int(number or 0)


def id_text(entry: EntryId | None) -> str:
    """Return an id as Redis writes it; None is before all entries."""
    return "0-0" if entry is None else f"{entry[0]}-{entry[1]}"


def before(entry: EntryId) -> EntryId | None:
    """Return the greatest id below another one."""
    if entry[1]:
        return entry[0], entry[1] - 1
    return (entry[0] - 1, 2**64 - 1) if entry[0] else None


def size_of(fields: Mapping[bytes, bytes]) -> int:
    """Return the bytes of an entry."""
    return sum(len(name) + len(value) for name, value in fields.items())


def message_of(entry: bytes, fields: Mapping[bytes, bytes], field: str | None, prefix: str, deliveries: int) -> Message:
    """Return the message of an entry; `field` is what holds the message, None: all of them do."""
    position = parse_id(entry)
    texts = {name.decode(errors="replace"): value for name, value in fields.items()}
    headers = {name: value.decode(errors="replace") for name, value in texts.items() if name != field}
    fault = None
    if field is None:
        body = b""
        try:
            body = json.dumps({name: value.decode() for name, value in texts.items()}, ensure_ascii=False).encode()
        except UnicodeDecodeError:
            fault = "found a field that is not UTF-8; expected text, or set `field` to the one that holds the message"
            body = b"\n".join(name + b"=" + value for name, value in fields.items())
    elif field in texts:
        body = texts[field]
    else:
        fault = f"field {field!r}: found none in this entry; it has {', '.join(sorted(texts))[:200]}"
        body = b"\n".join(name + b"=" + value for name, value in fields.items())
    content_type = next((value for name, value in headers.items() if name.lower() == _CONTENT_TYPE), None)
    return Message(
        place=f"{prefix}{id_text(position)}",
        body=body,
        headers=headers,
        content_type=None if field is None else content_type,
        time=position[0] / 1000 if position[0] >= _YEAR_2000 else None,
        position=position,
        deliveries=deliveries,
        token=entry,
        fault=fault,
    )
