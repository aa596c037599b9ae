"""Checks the frames of a client against RFC 6455 before aiohttp reads them. Sans-I/O.

aiohttp accepts some of what the RFC calls a protocol error: frames without a mask, close codes that must not be sent,
lengths that are not written in the shortest form, and a new message after an empty first fragment.
"""

_FIN, _RESERVED, _OPCODE, _CONTROL = 0x80, 0x70, 0x0F, 0x08
_COMPRESSED = 0x40
"""RSV1 of the first frame of a compressed message (RFC 7692, 6)."""
_MASKED, _LENGTH = 0x80, 0x7F
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _LAST_CONTROL = 0x0, 0x1, 0x2, 0x8, 0xA
_SHORT, _MEDIUM = 126, 127
"""A length below `_SHORT` is in the second byte; these values say that it is in the next two or eight bytes."""
_LONGEST_CONTROL = 125
_CODE = 2
_MASK = 4

_INVALID = b"\x83\x80\0\0\0\0"
"""A frame with an unassigned opcode, which aiohttp answers with 1002 once it has handed over what precedes it."""

_EMPTY_LIMIT = 1100
"""Empty frames of one chunk that are passed on: more than twice as many as a connection may send in a heartbeat, so
that it ends. Checking any number of them would occupy the event loop."""

_REGISTERED = (*range(1000, 1004), *range(1007, 1015))
_PRIVATE = range(3000, 5000)


class _InvalidError(Exception):
    """A frame violates the RFC."""


class ClientFrames:
    """The frames of one client, in the order in which they arrive."""

    __slots__ = ("_compression", "_ended", "_fragmented", "_held", "_in_message", "_left", "message_bytes")

    def __init__(self, *, compression: bool = False) -> None:
        """`compression` permits compressed messages: it was negotiated."""
        self._compression = compression
        self._held = b""
        """The beginning of a frame that cannot be judged yet."""
        self._left = 0
        """Bytes of the current frame that have not arrived yet. Nothing is held meanwhile."""
        self._in_message = False
        """Whether the current frame belongs to a message: it is no ping, pong or Close frame."""
        self._fragmented = False
        self._ended = False
        self.message_bytes = False
        """Whether the last `feed` took bytes of a message. Only the application sends those: anything on the path may
        answer a ping."""

    def feed(self, data: bytes) -> bytes:
        """Return what aiohttp may read of the bytes that have arrived so far.

        In place of the first invalid frame and all that follows it is a frame that aiohttp answers with 1002. A frame
        is held until its header is complete, a Close frame until it is whole. What follows a Close frame is dropped.
        """
        if self._ended:
            return b""
        if self._left >= len(data) and not self._held:
            self._left -= len(data)
            self.message_bytes = self._in_message
            return data
        self.message_bytes = self._left > 0 and self._in_message
        data, self._held = self._held + data, b""
        return self._checked(data, self._left)

    def _checked(self, data: bytes, at: int) -> bytes:
        """Check the frames from `at` on."""
        empty = 0
        while at < len(data):
            try:
                size = self._size(data, at)
            except _InvalidError:
                self._ended = True
                return data[:at] + _INVALID
            if size is None:
                self._held, self._left = data[at:], 0
                return data[:at]
            empty += size == 2 + _MASK + bool(data[at] & _COMPRESSED)  # a compressed one holds a byte
            at += size
            if self._ended or empty > _EMPTY_LIMIT:
                self._ended = True
                return data[:at]
        self._left = at - len(data)
        return data

    def _size(self, data: bytes, at: int) -> int | None:
        """Return the bytes of the frame that begins at `at`; None if more has to arrive first."""
        if len(data) - at < 2:  # noqa: PLR2004 -- the bytes that every header begins with
            return None
        first, second = data[at], data[at + 1]
        self._check_kind(first, second)
        size = _size(data, at, second & _LENGTH)
        if size is None:
            return None
        opcode = first & _OPCODE
        self._in_message = not opcode & _CONTROL
        self.message_bytes |= self._in_message
        if opcode == _CLOSE:
            if len(data) - at < size:
                return None
            _check_close(data[at + 2 : at + size])
            self._ended = True
        elif not opcode & _CONTROL:
            self._fragmented = not first & _FIN
        return size

    def _check_kind(self, first: int, second: int) -> None:
        opcode = first & _OPCODE
        if self._compression and opcode in {_TEXT, _BINARY}:
            first &= ~_COMPRESSED
        if first & _RESERVED or not second & _MASKED:
            raise _InvalidError
        if opcode & _CONTROL:
            valid = opcode <= _LAST_CONTROL and first & _FIN and second & _LENGTH <= _LONGEST_CONTROL
        else:
            valid = opcode <= _BINARY and (opcode == _CONTINUATION) == self._fragmented
        if not valid:
            raise _InvalidError


def _size(data: bytes, at: int, length: int) -> int | None:
    """Return the bytes of a frame with its header; None if its header is incomplete."""
    more = {_SHORT: 2, _MEDIUM: 8}.get(length, 0)
    header = 2 + more + _MASK
    if len(data) - at < header:
        return None
    if more:
        length = int.from_bytes(data[at + 2 : at + 2 + more], "big")
        shortest = _SHORT if more == 2 else 0x10000  # noqa: PLR2004
        if not shortest <= length < 2**63:
            raise _InvalidError
    return header + length


def _check_close(masked: bytes) -> None:
    """Check the code of a Close frame; aiohttp checks the text."""
    mask, payload = masked[:_MASK], masked[_MASK:]
    if not payload:
        return
    if len(payload) < _CODE:
        raise _InvalidError
    code = (payload[0] ^ mask[0]) << 8 | (payload[1] ^ mask[1])
    if code not in _REGISTERED and code not in _PRIVATE:
        raise _InvalidError
