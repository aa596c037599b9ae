"""Remembers which clients closed their connections with 1009, message too big, and from which cursor they resumed.

A client whose library accepts smaller messages than an event fails at that event, resumes, and fails again. After the
second time, it is told which event that is and how to skip it.
"""

from collections import OrderedDict
from typing import NamedTuple

TOO_BIG = 1009
"""The code with which a peer refuses a message (RFC 6455, 7.4.1)."""
_TOLD_AFTER = 2
_CLIENTS = 10_000
LARGE = 65_536
"""Bytes: no library in use refuses a smaller message by itself."""


class _Failed(NamedTuple):
    cursor: str
    times: int


class OversizedEvents:
    """The clients of one replica that could not take an event."""

    def __init__(self) -> None:
        self._failed: OrderedDict[str, _Failed] = OrderedDict()

    def ended(self, client_id: str, cursor: str | None, peer_code: int | None) -> None:
        """Note how a connection ended. `cursor` is where it began, `peer_code` the code that the peer sent."""
        if peer_code != TOO_BIG or cursor is None:
            return
        before = self._failed.pop(client_id, None)
        times = before.times if before is not None and before.cursor == cursor else 0
        self._failed[client_id] = _Failed(cursor, times + 1)
        if len(self._failed) > _CLIENTS:
            self._failed.popitem(last=False)

    def tells(self, client_id: str, cursor: str | None) -> bool:
        """Return whether a connection of the client that begins at a cursor is told of large events."""
        failed = self._failed.get(client_id)
        return failed is not None and failed.cursor == cursor and failed.times >= _TOLD_AFTER
