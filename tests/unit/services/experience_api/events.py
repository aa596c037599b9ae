"""Decodes frames as a client does."""

import json
import zlib
from typing import Any

Event = dict[str, Any]


def events(sent: bytes) -> list[Event]:
    """Return the events in whole text frames from a server, compressed or not."""
    found = []
    while sent:
        assert sent[0] in {0x81, 0xC1}, sent[:20]
        compressed = sent[0] == 0xC1
        size, start = sent[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(sent[2:start], "big")
        message = sent[start : start + size]
        if compressed:
            message = zlib.decompressobj(-15).decompress(message + b"\x00\x00\xff\xff")
        found.append(json.loads(message))
        sent = sent[start + size :]
    return found


def event(frame: bytes) -> Event:
    """Return the event in one frame."""
    [only] = events(frame)
    return only
