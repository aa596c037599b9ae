"""A transport whose peer reads on request, and a file descriptor that behaves like it."""


class FakeTransport:
    """Records what was written, in the order in which the peer would receive it."""

    def __init__(self, room: int = 10**9) -> None:
        self.room = room
        """Bytes that the kernel still accepts."""
        self.sent = b""
        self.buffered = b""
        self.aborted = False
        self.closed = False
        self.broken = False

    def write(self, data: bytes | memoryview) -> None:
        self.buffered += bytes(data)
        self._flush()

    def get_write_buffer_size(self) -> int:
        return len(self.buffered)

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.closed = True

    def write_directly(self, fd: int, data: bytes) -> int:
        """Behave like `os.write` on its descriptor."""
        assert fd == 7
        assert not self.buffered, "overtakes buffered bytes"
        if self.broken:
            raise BrokenPipeError
        taken = min(self.room, len(data))
        if data and not taken:
            raise BlockingIOError
        self.sent += data[:taken]
        self.room -= taken
        return taken

    def peer_reads(self, size: int) -> None:
        self.room += size
        self._flush()

    def _flush(self) -> None:
        taken = min(self.room, len(self.buffered))
        self.sent += self.buffered[:taken]
        self.buffered = self.buffered[taken:]
        self.room -= taken
