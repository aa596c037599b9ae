"""Remembers which clients closed their connections with 1009, message too big, and from which cursor they resumed.

A client whose library accepts smaller messages than an event fails at that event, resumes, and fails again. After the
second time, it is told which event that is and how to skip it.
"""

import hashlib
from collections import OrderedDict
from typing import NamedTuple, Self

TOO_BIG = 1009
"""The code with which a peer refuses a message (RFC 6455, 7.4.1)."""
_TOLD_AFTER = 2
_PLACES = 10_000
LARGE = 65_536
"""Bytes: no library in use refuses a smaller message by itself."""


class _Place(NamedTuple):
    """Where a connection of a client began. Each instance of an application has a place of its own."""

    client_id: str
    digest: bytes
    """Of the cursor, which a client may make long."""

    @classmethod
    def of(cls, client_id: str, cursor: str) -> Self:
        return cls(client_id, hashlib.blake2s(cursor.encode(errors="replace"), digest_size=16).digest())


class OversizedEvents:
    """The connections of one replica that ended at an event that their clients could not take."""

    def __init__(self) -> None:
        self._failed: OrderedDict[_Place, int] = OrderedDict()

    def ended(self, client_id: str, cursor: str | None, peer_code: int | None) -> None:
        """Note how a connection ended. `cursor` is where it began, `peer_code` the code that the peer sent."""
        if peer_code != TOO_BIG or cursor is None:
            return
        place = _Place.of(client_id, cursor)
        self._failed[place] = self._failed.pop(place, 0) + 1
        if len(self._failed) > _PLACES:
            self._failed.popitem(last=False)

    def tells(self, client_id: str, cursor: str | None) -> bool:
        """Return whether a connection of the client that begins at a cursor is told of large events."""
        return cursor is not None and self._failed.get(_Place.of(client_id, cursor), 0) >= _TOLD_AFTER
