"""Rows without a key, or without a time to order them by: no position can tell that they have been read.

Each state of such a row goes to the dead letter topic once.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from services.system_api.sources.source import Checkpoint
from services.system_api.sources.table.checking.checkpoints import checkpoint_errors

PART = "n"
LIMIT = 1000
"""Maximum number of rows that are remembered. More are not dead-lettered until some of these are corrected."""

_encode = msgspec.json.Encoder().encode


class NullKeyRow(NamedTuple):
    """A row with a NULL key or order value."""

    digest: str
    """Unique for this state of the row."""
    data: bytes
    error: str
    """What is missing."""


class NullKeyRows:
    """The rows that have been dead-lettered."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint.

        Raises:
            SettingsError: the part is not a list of digests.
        """
        self.overflowing = False
        """Whether there are more than are remembered."""
        with checkpoint_errors("a table source", "kind"):
            self.known = frozenset(msgspec.json.decode(checkpoint.get(PART, b"[]"), type=list[str]))

    def saved(self) -> dict[str, bytes]:
        """Return the part of the checkpoint for the rows that were dead-lettered."""
        return {PART: _encode(sorted(self.known))} if self.known else {}

    def take(self, rows: Sequence[NullKeyRow]) -> tuple[list[NullKeyRow], Mapping[str, bytes]]:
        """Return the rows that were not dead-lettered yet, and the part of the checkpoint to save with them.

        `rows` are all there are, or more than `LIMIT` of them.
        """
        found = {row.digest: row for row in rows}
        self.overflowing = len(rows) > LIMIT
        # A corrected row is forgotten; if not all rows were read, a missing one may not be corrected.
        kept = self.known if self.overflowing else self.known & found.keys()
        fresh = [row for digest, row in found.items() if digest not in kept][: LIMIT - len(kept)]
        now = kept | {row.digest for row in fresh}
        if now == self.known:
            return [], {}
        self.known = now
        return fresh, {PART: _encode(sorted(now))}
