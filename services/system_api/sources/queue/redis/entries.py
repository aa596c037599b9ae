"""Makes a `Message` of an entry of a Redis stream. No I/O."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from services.system_api.sources.queue.message import Message

EntryId = tuple[int, int]
"""Milliseconds, and a number within them."""

_CONTENT_TYPE = "content-type"
_YEAR_2000 = 946_684_800_000
_DIGEST = 16


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


def digest_of(fields: Mapping[bytes, bytes]) -> str:
    """Return a digest of an entry, to recognise it when it is read again."""
    digest = hashlib.blake2b(digest_size=_DIGEST)
    for name, value in fields.items():
        digest.update(b"%d %d " % (len(name), len(value)))
        digest.update(name)
        digest.update(value)
    return digest.hexdigest()


class Fields(dict[bytes, bytes]):
    """The fields of an entry. Redis keeps several of one name; of these, the last one is here."""

    def __init__(self, flat: Sequence[bytes]) -> None:
        """`flat` has each name before its value."""
        self.pairs = list(zip(flat[::2], flat[1::2], strict=True))
        """All of them, in order."""
        super().__init__(self.pairs)


def entries_of(answer: Any, **_options: Any) -> list[tuple[bytes, list[tuple[bytes, Fields]]]]:
    """Return the entries by stream of an answer to XREADGROUP. One that was deleted has no fields."""
    return [(stream, [(entry, Fields(flat or ())) for entry, flat in entries]) for stream, entries in answer or ()]


def message_of(entry: bytes, fields: Mapping[bytes, bytes], field: str | None, prefix: str, deliveries: int) -> Message:
    """Return the message of an entry; `field` is what holds the message, None: all of them do."""
    position = parse_id(entry)
    texts = {name.decode(errors="replace"): value for name, value in fields.items()}
    headers = {name: value.decode(errors="replace") for name, value in texts.items() if name != field}
    pairs = fields.pairs if isinstance(fields, Fields) else list(fields.items())
    body, fault = b"", None
    if (twice := _repeated(pairs, field)) is not None:
        fault = f"field {twice!r}: found several in this entry; expected one"
    elif field is None:
        try:
            named = {name.decode(): value.decode() for name, value in fields.items()}
            body = json.dumps(named, ensure_ascii=False).encode()
        except UnicodeDecodeError:
            fault = "found a field that is not UTF-8; expected text, or set `field` to the one that holds the message"
    elif field in texts:
        body = texts[field]
    else:
        fault = f"field {field!r}: found none in this entry; it has {', '.join(sorted(texts))[:200]}"
    if fault is not None:
        body = b"\n".join(name + b"=" + value for name, value in pairs)
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
        digest=digest_of(fields),
    )


def _repeated(pairs: Sequence[tuple[bytes, bytes]], field: str | None) -> str | None:
    """Return the name of a field of which only one could become part of the event, and that is there several times."""
    names = [name for name, _ in pairs if field is None or name == field.encode()]
    if len(set(names)) == len(names):
        return None
    return next(name for name in names if names.count(name) > 1).decode(errors="replace")
