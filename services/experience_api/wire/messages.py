"""Reads the messages of server frames again, for transports other than WebSocket: event streams and long polling.

The hub encodes each event once, as a WebSocket frame. Another transport takes the payloads from those bytes.
"""

from collections.abc import Iterator

import msgspec

from services.experience_api.wire.frames import PING

_TEXT = 0x81
_CURSOR = b'{"cursor":"'
_COMMENT = b":\n\n"
"""A line that EventSource ignores: it keeps proxies from dropping an idle connection."""


class _Place(msgspec.Struct):
    cursor: str | None = None


class _Channel(msgspec.Struct):
    channel: str = ""


_place = msgspec.json.Decoder(_Place).decode
_channel = msgspec.json.Decoder(_Channel).decode


def messages(frames: bytes) -> Iterator[bytes]:
    """Return the payloads of text frames, in order; other frames have none that a subscriber needs."""
    at = 0
    while at < len(frames):
        length, head = frames[at + 1], 2
        if length >= 126:  # noqa: PLR2004 -- RFC 6455, 5.2
            head = 4 if length == 126 else 10  # noqa: PLR2004
            length = int.from_bytes(frames[at + 2 : at + head], "big")
        begin = at + head
        if frames[at] == _TEXT:
            yield frames[begin : begin + length]
        at = begin + length


def cursor_of(message: bytes) -> bytes | None:
    """Return the cursor of an event; None if it has none."""
    if message.startswith(_CURSOR):
        return message[len(_CURSOR) : message.index(b'"', len(_CURSOR))]
    found = _place(message).cursor
    return None if found is None else found.encode()


def channel_of(message: bytes) -> str:
    """Return the channel of an event; empty if it has none that can be read."""
    try:
        return _channel(message).channel
    except (msgspec.DecodeError, RecursionError):
        return ""


def event_stream(frames: bytes) -> bytes:
    """Return frames as an event stream (the HTML standard, 9.2): the cursor is the id, the event is the data."""
    if frames == PING:
        return _COMMENT
    return b"".join(map(_entry, messages(frames)))


def _entry(message: bytes) -> bytes:
    cursor = cursor_of(message)
    lines = message.replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    return b"data: %b\n\n" % lines if cursor is None else b"id: %b\ndata: %b\n\n" % (cursor, lines)


def chunk(data: bytes) -> bytes:
    """Return a chunk of a response (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)
