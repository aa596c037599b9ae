"""A snapshot of a table that is read in order: all rows that are there, again, beside those that follow. No I/O."""

from collections.abc import Sequence
from typing import Generic

import msgspec

from services.system_api.sources.source import Checkpoint
from services.system_api.sources.table.entries import Order
from services.system_api.sources.table.ledger import Ledger, Position, Row
from shared.errors import SettingsError

PART = "s"
_encode = msgspec.json.Encoder().encode


class Rereading(Generic[Order]):
    """The progress of a snapshot, which is a part of the checkpoint."""

    def __init__(self, mode: str, kind: type[Order], checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint.

        Raises:
            SettingsError: the part is not a place.
        """
        self._mode = mode
        self._kind: type[Order] = kind
        self.ledger: Ledger[Order] | None = None
        """The place that it has reached; None: no snapshot is in progress."""
        if (saved := checkpoint.get(PART)) is None:
            return
        ledger: Ledger[Order] = Ledger(mode, kind, {})
        try:
            place = msgspec.json.decode(saved, type=tuple[int | str, str] | None)
        except msgspec.MsgspecError as exc:
            raise SettingsError(f"the checkpoint is not that of a table source ({exc}): rewind the source") from exc
        if place is not None and isinstance(place[0], kind):
            ledger.position = Position(place[0], place[1])
        self.ledger = ledger

    def begin(self) -> dict[str, bytes | None]:
        """Begin at the first row; return the part of the checkpoint."""
        self.ledger = Ledger(self._mode, self._kind, {})
        return {PART: _encode(None)}

    def reached(self, rows: Sequence[Row[Order]], *, complete: bool) -> dict[str, bytes | None]:
        """Note rows that are published again, the last ones if `complete`; return the part of the checkpoint."""
        assert self.ledger is not None
        if complete:
            self.ledger = None
            return {PART: None}
        if not rows:
            return {}
        self.ledger.position = Position(rows[-1].order, rows[-1].key)
        return {PART: _encode((rows[-1].order, rows[-1].key))}
