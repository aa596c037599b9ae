"""Compresses frames of events (RFC 7692), each once for all connections that accept compression. Sans-I/O.

A compressed message refers to no other one, so that the same bytes go to every connection. A frame is compressed with
the smallest window that holds it: that takes a third of the time, and a connection with a small window shares the bytes
of all frames that fit into its window.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import Field

from services.experience_api.wire.extensions import Agreed, negotiate
from services.experience_api.wire.frames import message_of, text_head
from shared.settings import Options

PLAIN = 0
"""The window of a connection without compression."""

LARGE = 65_536
"""Bytes of a frame whose compression takes about a millisecond: it would keep the event loop from other work."""

_CACHE_BYTES = 16 * 1024 * 1024
"""Frames kept with their compressed forms, for connections that resume at the same time."""
_ROW_BYTES = 300
"""Memory of an entry besides its bytes."""
_SMALLEST_WINDOW = 9
_TAIL = b"\x00\x00\xff\xff"
"""What a flush ends with, and a message leaves out (RFC 7692, 7.2.1)."""

Key = tuple[bytes, int]
"""A frame and a window."""


class CompressionOptions(Options):
    """How events are compressed for WebSocket clients that offer `permessage-deflate` (RFC 7692)."""

    enabled: bool = False
    """Whether events are compressed. Each is compressed once for all connections, and only in itself: it pays for
    events of some hundred bytes and more, and where bandwidth costs more than the memory and time of the clients."""

    min_bytes: int = Field(default=256, ge=1)
    """Bytes of the smallest frame that is compressed."""

    level: int = Field(default=1, ge=1, le=9)
    """The level of zlib: 1 is the fastest, 9 the smallest."""

    except_user_agents: tuple[str, ...] = ("AppleWebKit/605", "CFNetwork/")
    """Clients that are served plain although they offer compression: those whose `User-Agent` contains one of these
    texts. The default names Safari, the other browsers of iOS, and apps that use Apple's network library: versions of
    it fail on compressed messages."""

    def agree(self, offers: Iterable[str], user_agent: str) -> Agreed | None:
        """Return the compression of a connection; None if it has none.

        `offers` are the values of the header `Sec-WebSocket-Extensions`.
        """
        if not self.enabled or any(part and part in user_agent for part in self.except_user_agents):
            return None
        return negotiate(offers)


@dataclass(slots=True)
class CompressionCounts:
    """Counts for metrics."""

    frames: int = 0
    """Frames that were compressed, once for all connections."""
    bytes_before: int = 0
    bytes_after: int = 0


class Deflater:
    """Compresses frames, and keeps the newest ones."""

    def __init__(self, options: CompressionOptions, cache_bytes: int = _CACHE_BYTES) -> None:
        self.counts = CompressionCounts()
        self._min_bytes = options.min_bytes
        self._level = options.level
        self._limit = cache_bytes
        self._size = 0
        self._kept: dict[Key, bytes] = {}

    def join(self, frames: Sequence[bytes], window: int, *, keep: bool = True) -> bytes:
        """Return frames in the form of connections with a window, as one.

        `keep` says whether other connections will be written the same frames.
        """
        if window:
            frames = [self._form(frame, window, keep=keep) for frame in frames]
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def large(self, frames: Iterable[bytes], windows: Iterable[int]) -> Iterator[Key]:
        """Return the large frames that have no compressed form yet. `join` leaves them as they are."""
        large = [frame for frame in frames if len(frame) > LARGE]
        for window in windows:
            if window:
                yield from ((frame, window) for frame in large if (frame, window) not in self._kept)

    def compressed(self, key: Key) -> bytes:
        """Return the compressed form of a frame, or the frame where that is no smaller. Any thread may call this."""
        frame, window = key
        return deflated(frame, window, self._level)

    def keep(self, key: Key, form: bytes) -> None:
        """Take the compressed form of a large frame, for the connections that are written it next."""
        self._count(key[0], form)
        self._keep(key, form)

    def _form(self, frame: bytes, window: int, *, keep: bool) -> bytes:
        if len(frame) < self._min_bytes:
            return frame
        key = frame, _fitting(len(frame), window)
        form = self._kept.get(key)
        if form is None:
            if len(frame) > LARGE:
                return frame
            form = self.compressed(key)
            self._count(frame, form)
            if keep:
                self._keep(key, form)
        return form

    def _count(self, frame: bytes, form: bytes) -> None:
        self.counts.frames += 1
        self.counts.bytes_before += len(frame)
        self.counts.bytes_after += len(form)

    def _keep(self, key: Key, form: bytes) -> None:
        if key in self._kept:
            return
        self._kept[key] = form
        self._size += _cost(key, form)
        while self._size > self._limit:
            oldest = next(iter(self._kept))
            self._size -= _cost(oldest, self._kept.pop(oldest))


def deflated(frame: bytes, window: int, level: int) -> bytes:
    """Return the frame of a text message with its payload compressed, or the frame where that is no smaller."""
    payload = message_of(frame)
    bits = _fitting(len(payload), window)
    compressor = zlib.compressobj(level, zlib.DEFLATED, -bits, _memory(bits))
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    form = text_head(len(data) - len(_TAIL), compressed=True) + data[: -len(_TAIL)]
    return form if len(form) < len(frame) else frame


def _fitting(length: int, window: int) -> int:
    """Return the smallest window that holds so many bytes, and `window` where that is smaller."""
    return min(window, max(_SMALLEST_WINDOW, (length - 1).bit_length()))


def _memory(bits: int) -> int:
    """Return the size of the tables for a window: initializing larger ones takes longer than small messages do."""
    return min(8, bits - 6)


def _cost(key: Key, form: bytes) -> int:
    return len(key[0]) + len(form) + _ROW_BYTES
