"""Parses `text/event-stream` as it arrives. No I/O.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation.
"""

import re
from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"
_DIGITS = re.compile(rb"[0-9]{1,12}")
_FIELDS_LIMIT = 4096
"""Bytes of an id or the name of an event."""


class StreamEvent(NamedTuple):
    """One event, or a new id without an event."""

    id: str | None
    """The id that it has itself, None where it has none."""
    name: str
    """The field `event`."""
    data: bytes | None
    """None: it has no data, which makes it no event."""
    cut: bool
    """Whether the data was too large, and only its beginning is here."""


class EventStreamParser:
    """The state of one stream. It holds at most twice the limit in bytes."""

    def __init__(self, limit: int) -> None:
        """`limit` is the bytes of the data of one event."""
        self._limit = limit
        self.retry: float | None = None
        """The seconds after which the server wants to be asked again, once a connection has ended."""
        self._line = bytearray()
        self._line_cut = False
        self._first = True
        self._after_cr = False
        self._data: bytearray | None = None
        self._cut = False
        self._id: str | None = None
        self._name = ""

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        """Return the events that a chunk completes."""
        found: list[StreamEvent] = []
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[:1] == b"\n":
                chunk = chunk[1:]
        self._after_cr = self._after_cr or chunk[-1:] == b"\r"
        *whole, rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for part in whole:
            self._extend(part)
            self._end_line(found)
        self._extend(rest)
        return found

    def _extend(self, part: bytes) -> None:
        room = self._limit + 64 - len(self._line)
        self._line_cut = self._line_cut or len(part) > room
        self._line += part[: max(0, room)]

    def _end_line(self, found: list[StreamEvent]) -> None:
        line, cut = bytes(self._line), self._line_cut
        self._line.clear()
        self._line_cut = False
        if self._first:
            line, self._first = line.removeprefix(_BOM), False
        if not line:
            self._dispatch(found)
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._add(value, cut=cut)
        elif name == b"id" and b"\0" not in value and len(value) <= _FIELDS_LIMIT:
            self._id = value.decode(errors="replace")
        elif name == b"event":
            self._name = value[:_FIELDS_LIMIT].decode(errors="replace")
        elif name == b"retry" and _DIGITS.fullmatch(value):
            self.retry = int(value) / 1000

    def _add(self, value: bytes, *, cut: bool) -> None:
        if self._data is None:
            self._data = bytearray()
        else:
            self._data += b"\n"
        room = self._limit - len(self._data)
        self._cut = self._cut or cut or len(value) > room
        self._data += value[: max(0, room)]

    def _dispatch(self, found: list[StreamEvent]) -> None:
        if self._data is not None or self._id is not None:
            found.append(
                StreamEvent(self._id, self._name, None if self._data is None else bytes(self._data), self._cut)
            )
        self._data, self._id, self._name, self._cut = None, None, "", False
