"""Splits a JSON document into its records while it is read: the items of an array, or objects one after another.

It checks only as much as it needs to find where a record ends; each record is checked as a whole afterwards.
"""

import json
import re
from collections.abc import Iterator, Sequence

from services.system_api.sources.file.documents.records import FoundRecord, Records, Stream, UnreadableDocument
from shared.events.dead_letter import KEPT_BYTES

_CHUNK = 262_144
_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING_END = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_INSIDE = rb'[^"\[\]{}]+|"[^"\\]*(?:\\.[^"\\]*)*"'
# Possessive groups within others match too much before Python 3.11.5; atomic groups do not. Both are needed: where the
# inner object holds another one, every way to divide what is before that would be tried.
_TO_BRACKET = re.compile(rb"(?>(?:%b|[\[{](?>(?:%b)*)[\]}])*)" % (_INSIDE, _INSIDE), re.DOTALL)
"""Everything up to a bracket, an incomplete string or the end; objects and arrays that hold no others are passed by."""
_SCALAR = re.compile(rb"[^ \t\r\n,:\[\]{}\"]++")
_BOM = b"\xef\xbb\xbf"
_OPENERS, _BRACKETS = b"[{", b"[]{}"
_SHOWN = 20


def read_json(stream: Stream, path: Sequence[str], limit: int) -> Records:
    """Return the records of a document at `path`, names of members; `limit` is the maximum size of a record in bytes.

    Where the path leads to an array, each item is a record; arrays on the way are entered. Without a path, the document
    is an array of records, or records one after another.

    Raises (while iterating):
        UnreadableDocument: the document is no JSON from some byte on, or has nothing at the path.
    """
    return _Reader(_Buffer(stream), tuple(path), limit).records()


class _Buffer:
    """The bytes that were read and not used yet."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.data = b""
        self.at = 0
        """Index of the next byte in `data`."""
        self._before = 0
        self.ended = False

    @property
    def position(self) -> int:
        """Offset of the next byte in the document."""
        return self._before + self.at

    @property
    def end(self) -> int:
        """Offset behind the last byte that was read."""
        return self._before + len(self.data)

    def more(self) -> bool:
        """Read on; return whether there was more. What is before `at` is dropped."""
        if self.ended:
            return False
        chunk = self._stream.read(_CHUNK)
        self._before += self.at
        self.data, self.at = self.data[self.at :] + chunk, 0
        self.ended = not chunk
        return bool(chunk)

    def peek(self) -> bytes:
        """Return the next byte that is no white space; nothing at the end."""
        while True:
            found = _SPACE.match(self.data, self.at)
            assert found is not None, "it matches nothing, too"
            self.at = found.end()
            if self.at < len(self.data):
                return self.data[self.at : self.at + 1]
            if not self.more():
                return b""


class _Reader:
    def __init__(self, buffer: _Buffer, path: tuple[str, ...], limit: int) -> None:
        self._buffer = buffer
        self._path = path
        self._limit = limit
        self._reached = False

    def records(self) -> Records:
        buffer = self._buffer
        if buffer.peek() == b"\xef" and buffer.position == 0:
            self._expect_bom()
        if not buffer.peek():
            raise UnreadableDocument("found an empty document; expected JSON")
        while first := buffer.peek():
            if first not in _OPENERS:
                raise self._unexpected("an array or an object")
            yield from self._values(self._path)
        if not self._reached:
            raise UnreadableDocument(f"found nothing at {'.'.join(self._path)!r}; expected an array or an object")

    def _expect_bom(self) -> None:
        buffer = self._buffer
        if not buffer.data.startswith(_BOM):
            raise self._unexpected("JSON")
        buffer.at += len(_BOM)

    def _values(self, path: tuple[str, ...]) -> Records:
        """Yield the records of one value, to whose members `path` leads."""
        first = self._buffer.peek()
        if first == b"[":
            self._reached = self._reached or not path
            yield from self._items(path)
        elif not path:
            self._reached = True
            yield from self._record(first)
        elif first == b"{":
            yield from self._members(path)
        else:
            yield from self._skip_value(first)

    def _items(self, path: tuple[str, ...]) -> Records:
        buffer = self._buffer
        buffer.at += 1
        if buffer.peek() == b"]":
            buffer.at += 1
            return
        while True:
            first = buffer.peek()
            yield from (self._values(path) if path else self._record(first))
            if self._comma_or(b"]"):
                return

    def _members(self, path: tuple[str, ...]) -> Records:
        buffer = self._buffer
        buffer.at += 1
        if buffer.peek() == b"}":
            buffer.at += 1
            return
        while True:
            if buffer.peek() != b'"':
                raise self._unexpected("the name of a member")
            name = self._name()
            if buffer.peek() != b":":
                raise self._unexpected("':'")
            buffer.at += 1
            first = buffer.peek()
            yield from (self._values(path[1:]) if name == path[0] else self._skip_value(first))
            if self._comma_or(b"}"):
                return

    def _comma_or(self, closer: bytes) -> bool:
        """Consume a comma or the closer; return whether it was the closer."""
        found = self._buffer.peek()
        if found not in (b",", closer):
            raise self._unexpected(f"',' or {closer.decode()!r}")
        self._buffer.at += 1
        return found == closer

    def _name(self) -> str:
        """Consume the name of a member. One that is longer than a record may be is not kept: no path has it."""
        written = bytearray()
        for piece in self._pieces(b'"'):
            if len(written) <= self._limit:
                written += piece
        try:
            name: str = json.loads(written)
        except ValueError:
            return ""
        return name

    def _record(self, first: bytes) -> Records:
        """Yield one value as a record."""
        start = self._buffer.position
        kept, size = bytearray(), 0
        for piece in self._pieces(first):
            size += len(piece)
            if len(kept) <= self._limit:
                kept += piece
            if size > self._limit:
                yield None
        place = f"bytes {start}-{start + size - 1}"
        if size > self._limit:
            error = f"found a record of {size} bytes, the limit is {self._limit}; its first {KEPT_BYTES} are kept"
            yield FoundRecord(bytes(kept[:KEPT_BYTES]), place, error, size)
        else:
            yield FoundRecord(bytes(kept), place)

    def _skip_value(self, first: bytes) -> Records:
        for number, _ in enumerate(self._pieces(first)):
            if number:
                yield None

    def _pieces(self, first: bytes) -> Iterator[bytes]:
        """Consume one value, and yield it in pieces."""
        buffer = self._buffer
        if first == b'"':
            buffer.at += 1
            yield b'"'
            yield from self._string()
        elif first and first in _OPENERS:
            yield from self._nested()
        else:
            yield self._scalar()

    def _string(self) -> Iterator[bytes]:
        """Consume a string behind its first quote."""
        buffer = self._buffer
        while True:
            found = _STRING_END.match(buffer.data, buffer.at)
            assert found is not None, "it matches nothing, too"
            start, end = buffer.at, found.end()
            closed = buffer.data[end : end + 1] == b'"'
            buffer.at = end + closed
            if buffer.at > start:
                yield buffer.data[start : buffer.at]
            if closed:
                return
            # What is left is a backslash, whose second character has not been read.
            if not buffer.more():
                raise self._ended("a string")

    def _nested(self) -> Iterator[bytes]:
        """Consume an object or an array."""
        buffer, depth = self._buffer, 0
        start = buffer.at
        while True:
            found = _TO_BRACKET.match(buffer.data, buffer.at) if depth else None
            buffer.at = buffer.at if found is None else found.end()
            mark = buffer.data[buffer.at : buffer.at + 1]
            if mark and mark in _BRACKETS:
                depth += 1 if mark in _OPENERS else -1
                buffer.at += 1
            elif mark:
                buffer.at += 1
                yield buffer.data[start : buffer.at]
                yield from self._string()
                start = buffer.at
            if not depth or not mark:
                if buffer.at > start:
                    yield buffer.data[start : buffer.at]
                if not depth:
                    return
                if not buffer.more():
                    raise self._ended("an object or an array")
                start = 0

    def _scalar(self) -> bytes:
        buffer, written = self._buffer, b""
        while True:
            found = _SCALAR.match(buffer.data, buffer.at)
            if found is not None:
                written += found[0]
                buffer.at = found.end()
            if len(written) > self._limit:
                raise UnreadableDocument(f"byte {buffer.position}: found a value of more than {self._limit} bytes")
            if not written and buffer.at < len(buffer.data):
                raise self._unexpected("a value")
            if buffer.at < len(buffer.data) or not buffer.more():
                break
        if not written:
            raise self._ended("a value")
        return written

    def _unexpected(self, expected: str) -> UnreadableDocument:
        buffer = self._buffer
        if buffer.at >= len(buffer.data):
            return self._ended(expected)
        found = buffer.data[buffer.at : buffer.at + _SHOWN].decode(errors="replace")
        return UnreadableDocument(f"byte {buffer.position}: found {found!r}; expected {expected}")

    def _ended(self, inside: str) -> UnreadableDocument:
        return UnreadableDocument(f"byte {self._buffer.end}: the document ends within {inside}")
