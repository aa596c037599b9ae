"""A hole at the beginning of a file that grows. No I/O.

When a file is truncated whose writer does not append (`copytruncate`), the writer goes on at its old offset. What is
before that reads as zeros: as many as the file had bytes, in front of the first new line.
"""

from services.system_api.sources.file.parsing.splitter import Splitter

SMALLEST = 16
"""Zeros that a hole has at least: fewer may be the beginning of text in UTF-16 or UTF-32."""


class Hole:
    """Skips the zeros before the first line of a file."""

    def __init__(self, splitter: Splitter, *, inside: bool) -> None:
        """`inside` tells whether reading resumes in the middle of a hole."""
        self._splitter = splitter
        self._inside = inside

    def behind(self, data: bytes) -> bytes:
        """Return what follows a hole in the next bytes of the file; all of them if there is none.

        Only while nothing but a hole was read before.
        """
        rest = data.lstrip(b"\0")
        size = len(data) - len(rest)
        self._inside = self._inside or size >= SMALLEST
        if not self._inside:
            return data
        self._splitter.skip(size)
        return rest
