"""Reads the body of a message in pieces, decompressed, and bounded in bytes whatever it decompresses to. No I/O.

aiohttp itself takes a compressed body that ends in its middle for a whole one, and looks at one of several encodings.
"""

import zlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from multidict import MultiMapping

from shared.errors import Malformed, TooLarge

ACCEPTED_ENCODINGS = "gzip, deflate"
"""What is offered in `Accept-Encoding`."""

_LONGEST = 200
"""Characters of all encodings of a body."""

_ANY_HEADER = 32 + zlib.MAX_WBITS
"""Tells zlib to recognise the headers of gzip and of zlib."""
_RAW = -zlib.MAX_WBITS
_ZLIB_METHOD = 8


class UnsupportedEncoding(Malformed):
    """The body has an encoding that is not read."""


def encoding_of(headers: MultiMapping[str]) -> str:
    """Return the encodings of a message's body, with commas between several: those of its transfer are the same."""
    found = ",".join((*headers.getall("Content-Encoding", []), *headers.getall("Transfer-Encoding", [])))
    if len(found) > _LONGEST:
        return found[:_LONGEST]  # none that is read
    names = (name.strip().lower() for name in found.split(","))
    return ", ".join(name for name in names if name not in {"", "chunked", "identity"})


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class BodyReader:
    """The body of one message."""

    def __init__(self, encoding: str, limit: int) -> None:
        """`encoding` is what `encoding_of` returns, empty without one; `limit` is the largest body in bytes.

        Raises:
            UnsupportedEncoding: the encoding is not one of `ACCEPTED_ENCODINGS`.
        """
        self._encoding = encoding.strip().lower()
        if self._encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise UnsupportedEncoding(
                f"the body has the content encoding {encoding[:40]!r}; expected {ACCEPTED_ENCODINGS}"
            )
        self._limit = limit
        self._body = bytearray()
        self._inflater: _Inflater | None = None
        self._received = False
        self._compressed = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            TooLarge: the body is above the limit.
            Malformed: it cannot be decompressed.
        """
        if not piece:
            return
        self._received = True
        if self._encoding in {"", "identity"}:
            self._add(piece)
            return
        try:
            self._inflate(piece)
        except zlib.error as exc:
            raise Malformed(f"the body cannot be decompressed ({self._encoding}): {exc}") from exc
        self._compressed += len(piece)
        # As of members without content, which never end. What cannot be compressed grows a little.
        if self._compressed > self._limit + self._limit // 64 + 1024:
            raise TooLarge(f"the compressed body exceeds the limit of {self._limit} bytes")

    async def whole(self, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the whole body once it has arrived. `read` returns what has arrived meanwhile, and nothing at the end.

        Raises what `feed`, `body` and `read` raise.
        """
        while piece := await read():
            self.feed(piece)
        return self.body()

    @property
    def beginning(self) -> bytes:
        """What has been read so far, also of a body that is too large."""
        return bytes(self._body[: self._limit])

    def body(self) -> bytes:
        """Return the whole body, after the last piece.

        Raises:
            Malformed: it ends in the middle of its compression.
        """
        if self._received and self._inflater is not None and not self._inflater.eof:
            raise Malformed(f"the body ends in the middle of its compression ({self._encoding})")
        return bytes(self._body)

    def _inflate(self, piece: bytes) -> None:
        while piece:
            if self._inflater is None or self._inflater.eof:
                # A gzip body may have several members (RFC 1952, section 2.2).
                self._inflater = self._opened(piece)
            room = self._limit - len(self._body)
            self._add(self._inflater.decompress(piece, room + 1))
            piece = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail

    def _opened(self, piece: bytes) -> _Inflater:
        # RFC 9110 has the zlib format as `deflate`; some servers send the bare one.
        raw = self._encoding == "deflate" and piece[0] & 0x0F != _ZLIB_METHOD
        return zlib.decompressobj(_RAW if raw else _ANY_HEADER)

    def _add(self, piece: bytes) -> None:
        self._body += piece
        if len(self._body) > self._limit:
            raise TooLarge(f"the body exceeds the limit of {self._limit} bytes")
