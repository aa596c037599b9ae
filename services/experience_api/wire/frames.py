"""Encodes server-to-client WebSocket frames (RFC 6455, 5.2: unmasked, unfragmented) and splices cursors into events.

The frame of an event is the same for every subscriber: it is encoded once and written many times.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from shared.events.event import Attributes, MalformedEvent, encode

_TEXT = 0x81  # FIN and opcode 1
_COMPRESSED = 0x40  # RSV1 (RFC 7692, 6)
_PONG = 0x8A
_SHORT = 126  # lengths below fit into the second byte
_MEDIUM = 0x10000  # lengths below take two more bytes, others eight
_CURSOR = b'{"cursor":"'

_decode = msgspec.json.Decoder(Attributes).decode

PING = b"\x89\x00"
"""A ping without payload."""


def ping() -> bytes:
    """Return a ping without payload."""
    return PING


def text_frame(payload: bytes) -> bytes:
    """Return one text message; `payload` must be UTF-8."""
    return _head(_TEXT, len(payload)) + payload


def text_head(length: int, *, compressed: bool) -> bytes:
    """Return the header of a text message whose payload has so many bytes."""
    return _head(_TEXT | _COMPRESSED if compressed else _TEXT, length)


def message_of(frame: bytes) -> bytes:
    """Return the payload of a text message."""
    return frame[{_SHORT: 4, 127: 10}.get(frame[1], 2) :]


def pong_frame(payload: bytes) -> bytes:
    """Return the pong to a ping with this payload of at most 125 bytes."""
    return bytes((_PONG, len(payload))) + payload


def event_frame(payload: bytes, cursor: bytes) -> bytes:
    """Return the frame of an event. `payload` comes from `event_payload`; `cursor` needs no escaping."""
    length = len(payload) + len(cursor) + 12  # `"cursor":"…",`
    return b'%b{"cursor":"%b",%b' % (_head(_TEXT, length), cursor, payload[1:])


class EventFrame(NamedTuple):
    """What a frame of an event says."""

    size: int
    """Bytes of the message, without the frame's header."""
    cursor: str
    attributes: Mapping[str, Any]
    """Its id and its source, as far as they can be read."""


class _Identity(msgspec.Struct, omit_defaults=True):
    id: str = ""
    source: str = ""


_identity = msgspec.json.Decoder(_Identity).decode


def read_frame(frame: bytes) -> EventFrame:
    """Read the frame of an event, which another program may have written: it may be no JSON."""
    payload = frame[frame.index(_CURSOR) :]
    end = payload.index(b'"', len(_CURSOR))
    try:
        attributes = msgspec.to_builtins(_identity(payload))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        attributes = {}
    return EventFrame(len(payload), payload[len(_CURSOR) : end].decode(), attributes)


def with_cursor(frame: bytes, cursor: bytes) -> bytes:
    """Return the frame of an event with its cursor replaced."""
    begin = frame.index(_CURSOR)  # the frame header is at most ten bytes and cannot contain this
    end = frame.index(b'"', begin + len(_CURSOR))
    return event_frame(b"{" + frame[end + 2 :], cursor)


def event_payload(value: bytes | None) -> bytes:
    """Check a record's value, so that no record can break a subscriber's connection; return it ready for splicing.

    Decodes only what does not begin like an event of this relay, or may contain a cursor of its own.

    Raises:
        MalformedEvent: not UTF-8, or not a JSON object with at least one member.
    """
    if value is None:
        raise MalformedEvent("the record has no value")
    if not value.isascii():
        try:
            value.decode()
        except UnicodeDecodeError as exc:
            raise MalformedEvent(f"not UTF-8: {exc}") from exc
    # A name may be spelled with escapes such as \u0063; this one has only letters below U+0100.
    if value.startswith(b'{"') and b'"cursor"' not in value and b"\\u00" not in value:
        return value
    try:
        attributes = _decode(value)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise MalformedEvent(f"not a JSON object: {exc}") from exc
    attributes.pop("cursor", None)
    if not attributes:
        raise MalformedEvent("the event has no attributes")
    return encode(attributes)


def _head(first: int, length: int) -> bytes:
    if length < _SHORT:
        return bytes((first, length))
    if length < _MEDIUM:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")
