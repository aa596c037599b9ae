"""How many rows are read at once: fewer after a read that has failed, perhaps because it took too long. No I/O.

A server evaluates all rows of a statement before it is known how large they are. With large rows that may take longer
than a statement may, and would do so again at each attempt.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Unavailable

_LESS = 4
"""By what the number is divided after a failure; it grows by as small a part with each success: a failure costs the
server as much as a statement may take."""


class Portions:
    """The sizes of one kind of read."""

    def __init__(self, most: int) -> None:
        """`most` is the maximum number of rows of one read."""
        self._most = most
        self._next = most

    @contextmanager
    def reading(self, wanted: int) -> Iterator[int]:
        """Provide how many rows to read, of those that are wanted; at least one.

        Raises what the body raises.
        """
        asked = max(1, min(wanted, self._next))
        try:
            yield asked
        except Unavailable:
            self._next = max(1, asked // _LESS)
            raise
        self._next = min(self._next + self._next // _LESS + 1, self._most)
