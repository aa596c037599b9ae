"""Decodes frames as a client does."""

import json
from typing import Any

Event = dict[str, Any]


def events(sent: bytes) -> list[Event]:
    """Return the events in whole text frames from a server."""
    found = []
    while sent:
        assert sent[0] == 0x81, sent[:20]
        size, start = sent[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(sent[2:start], "big")
        found.append(json.loads(sent[start : start + size]))
        sent = sent[start + size :]
    return found


def event(frame: bytes) -> Event:
    """Return the event in one frame."""
    [only] = events(frame)
    return only
