"""Rows without a key, or without a time to be ordered by: no place in the order can tell that they are done.

They go to the dead letter, once in each state they have.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from services.system_api.sources.source import Checkpoint
from shared.errors import SettingsError

PART = "n"
LIMIT = 1000
"""Rows that are remembered; more are not put aside before some of these are mended."""

_encode = msgspec.json.Encoder().encode


class NullKeyRow(NamedTuple):
    """One such row."""

    digest: str
    """Tells its state from that of others."""
    data: bytes
    error: str
    """What it lacks."""


class NullKeyRows:
    """Those that have been put aside."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            SettingsError: something else is in the place of this part.
        """
        self.overflowing = False
        """Whether there are more than are remembered."""
        try:
            self.known = frozenset(msgspec.json.decode(checkpoint.get(PART, b"[]"), type=list[str]))
        except msgspec.MsgspecError as exc:
            raise SettingsError(f"the checkpoint is not that of a table: {exc}") from exc

    def take(self, rows: Sequence[NullKeyRow]) -> tuple[list[NullKeyRow], Mapping[str, bytes]]:
        """Return those rows that were not put aside yet, and what to save with them.

        `rows` are all there are, or more than `LIMIT` of them.
        """
        found = {row.digest: row for row in rows}
        self.overflowing = len(rows) > LIMIT
        # What has been mended is forgotten, unless it may only not have been read.
        kept = self.known if self.overflowing else self.known & found.keys()
        fresh = [row for digest, row in found.items() if digest not in kept][: LIMIT - len(kept)]
        now = kept | {row.digest for row in fresh}
        if now == self.known:
            return [], {}
        self.known = now
        return fresh, {PART: _encode(sorted(now))}
