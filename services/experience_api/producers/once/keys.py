"""Reads idempotency keys, and makes of them what is kept: digests, which say nothing about a key. Sans-I/O."""

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from multidict import MultiMapping

from services.experience_api.refusals import MALFORMED, Refused
from shared.bus.protocol import Outgoing

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21\x23-\x7e](?:[\x20\x21\x23-\x7e]{0,253}[\x21\x23-\x7e])?")
_OF_REQUEST = ("Content-Type",)


class Key(NamedTuple):
    """What is kept of a key."""

    digest: bytes
    """Of the producer and the key: 32 bytes."""
    fingerprint: bytes | None
    """Of the request that the key was used for; None where any other one with the key counts as the same."""


class Guarded(NamedTuple):
    """Records that are published once for their key."""

    key: Key
    records: Sequence[Outgoing]


def read_key(headers: MultiMapping[str]) -> str | None:
    """Return the key of a request, if it has one: a string in quotes (RFC 9651, 3.3.3), or the same without them.

    Raises:
        Refused: `MALFORMED`: there are several, or it is no such string of 1 to 255 characters.
    """
    values = headers.getall(HEADER, [])
    if not values:
        return None
    text = values[0].strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if len(values) > 1 or not valid_key(text):
        raise Refused(
            MALFORMED,
            f"header {HEADER!r}: expected one key of 1 to 255 visible ASCII characters, such as a UUID, with quotes "
            "around it or without",
        )
    return text


def valid_key(text: str) -> bool:
    """Return whether a text is a key: 1 to 255 visible ASCII characters without quotes, with spaces only inside."""
    return _KEY.fullmatch(text) is not None


def key_of_message(client_id: str, sent_id: str, attributes: Mapping[str, bytes]) -> Key:
    """Return what is kept of the id that a client has given a message with these attributes."""
    data = [part for name in sorted(attributes) for part in (name.encode(), attributes[name])]
    return Key(_digest(b"message", client_id.encode(), sent_id.encode()), _digest(b"message", *data))


def key_of_request(producer: str, key: str, headers: MultiMapping[str], query: str, body: bytes) -> Key:
    """Return what is kept of a key that covers a whole request."""
    parts = [f"{name.lower()}:{value}" for name, value in headers.items() if _says_what(name)]
    fingerprint = _digest(
        b"request", query.encode(), *(part.encode(errors="surrogateescape") for part in sorted(parts)), body
    )
    return Key(_digest(b"key", producer.encode(), key.encode()), fingerprint)


def key_of_event(producer: str, source: str, event_id: str) -> Key:
    """Return what is kept of an event's own identity (CloudEvents 1.0, `source` and `id`)."""
    return Key(_digest(b"event", producer.encode(), source.encode(), event_id.encode()), None)


def id_of(key: Key) -> str:
    """Return the id of an event that has none, the same for each repetition of its request."""
    return str(uuid.UUID(bytes=key.digest[:16], version=5))


def _says_what(name: str) -> bool:
    return name.title() in _OF_REQUEST or name.lower().startswith("ce-")


def _digest(*parts: bytes) -> bytes:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8))
        found.update(part)
    return found.digest()
