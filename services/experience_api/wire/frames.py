"""Server-to-client WebSocket frames (RFC 6455, 5.2: unmasked, unfragmented), and the cursor spliced into an event.

The frame of an event is the same for every subscriber: it is encoded once and written many times.
"""

import msgspec

from shared.events.event import Attributes, MalformedEvent, encode

_TEXT = 0x81  # FIN and opcode 1
_PONG = 0x8A
_SHORT = 126  # lengths below stand in the second byte itself
_MEDIUM = 0x10000  # lengths below stand in two bytes, others in eight
_CURSOR = b'{"cursor":"'

_take_apart = msgspec.json.Decoder(Attributes).decode

PING = b"\x89\x00"
"""A ping with nothing in it."""


def text_frame(payload: bytes) -> bytes:
    """Return one text message; `payload` must be UTF-8."""
    return _head(_TEXT, len(payload)) + payload


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping, which must repeat what the ping held: 125 bytes at most."""
    return bytes((_PONG, len(payload))) + payload


def event_frame(payload: bytes, cursor: bytes) -> bytes:
    """Return an event's frame. `payload` is what `event_payload` gave; `cursor` needs no escaping."""
    length = len(payload) + len(cursor) + 12  # `"cursor":"…",`
    return b'%b{"cursor":"%b",%b' % (_head(_TEXT, length), cursor, payload[1:])


def with_cursor(frame: bytes, cursor: bytes) -> bytes:
    """Return an event's frame with another cursor in it."""
    begin = frame.index(_CURSOR)  # the head is at most ten bytes long, none of which can hold this
    end = frame.index(b'"', begin + len(_CURSOR))
    return event_frame(b"{" + frame[end + 2 :], cursor)


def event_payload(value: bytes | None) -> bytes:
    """Check what the bus holds, so that no record can break a subscriber's connection; return it fit for splicing.

    Only what does not begin as our own events do, or may bring a cursor of its own, is taken apart.

    Raises:
        MalformedEvent: not UTF-8, or no JSON object with something in it.
    """
    if value is None:
        raise MalformedEvent("a record without a value")
    if not value.isascii():
        try:
            value.decode()
        except UnicodeDecodeError as exc:
            raise MalformedEvent(f"not UTF-8: {exc}") from exc
    # A name may hide behind escapes such as \u0063; only letters below U+0100 spell this one.
    if value.startswith(b'{"') and b'"cursor"' not in value and b"\\u00" not in value:
        return value
    try:
        attributes = _take_apart(value)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise MalformedEvent(f"not a JSON object: {exc}") from exc
    attributes.pop("cursor", None)
    if not attributes:
        raise MalformedEvent("an event without attributes")
    return encode(attributes)


def _head(first: int, length: int) -> bytes:
    if length < _SHORT:
        return bytes((first, length))
    if length < _MEDIUM:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")
