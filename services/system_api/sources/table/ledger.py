"""What has been emitted, and what is saved of it, so that a row is emitted once however often it is read.

Below the horizon a place suffices: everything up to it has been emitted. Above it rows are emitted as they appear, and
remembered one by one, until the horizon has passed them.
"""

import bisect
from collections.abc import Sequence
from operator import attrgetter
from typing import Generic, NamedTuple

import msgspec

from services.system_api.sources.source import Checkpoint
from services.system_api.sources.table.entries import Entries, Order
from shared.errors import SettingsError

_VERSION = 1


class Position(NamedTuple, Generic[Order]):
    """How far everything has been emitted: all rows of a lower order, and those of this order up to `key`."""

    order: Order
    key: str | None
    """None: no row of this order."""


class Row(NamedTuple, Generic[Order]):
    """One row as it was read."""

    order: Order
    key: str
    version: str
    """Tells one state of the row from another of the same order."""
    subject: str | None
    data: bytes
    """One JSON value, or what can be shown of a row that none can be made of."""
    error: str | None = None
    """Why none can be made."""

    @property
    def identity(self) -> str:
        """What tells this state of this row from every other."""
        return f"{self.version} {self.key}"


class _Saved(msgspec.Struct, frozen=True):
    """The main part of a checkpoint."""

    v: int
    mode: str
    position: tuple[int | str, str | None] | None
    parts: int
    """The number of the next part."""


_order = attrgetter("order")
_encode = msgspec.json.Encoder().encode


class Ledger(Generic[Order]):
    """Where a table source is."""

    def __init__(self, mode: str, kind: type[Order], checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint. `mode` is whatever must not change under it, `kind` the type of the order.

        Raises:
            SettingsError: it is not of this kind of source, or of another mode.
        """
        self._mode = mode
        self._kind: type[Order] = kind
        self.position: Position[Order] | None = None
        self._entries: Entries[Order] = Entries()
        if checkpoint:
            self._load(checkpoint)

    @property
    def emitted(self) -> dict[str, Order]:
        """Rows above the place that have been emitted: their orders by identity."""
        return self._entries.known

    def take(
        self, rows: Sequence[Row[Order]], horizon: Order | None, *, complete: bool
    ) -> tuple[list[Row[Order]], dict[str, bytes | None]]:
        """Return those rows that were not emitted before, and what to save with them.

        `rows` are all there are above the place, in order, and may lack those emitted; `complete` says that there are
        no more. Without that, rows beyond the last one may be missing, below the horizon as well.
        """
        known = self._entries.known
        covered = self._advance(rows, horizon, complete=complete)
        fresh = [row for row in rows if row.identity not in known] if known else list(rows)
        early = [(row.order, row.identity) for row in rows[covered:] if row.identity not in known]
        saved: dict[str, bytes | None] = {}
        if self.position is not None and known:
            saved = self._entries.forget_below(self.position.order)
        if early:
            saved |= self._entries.add(early)
        if fresh or saved:
            saved[""] = _encode(_Saved(_VERSION, self._mode, self.position, self._entries.next_part))
        return fresh, saved

    def _advance(self, rows: Sequence[Row[Order]], horizon: Order | None, *, complete: bool) -> int:
        """Move the place over what is final and read; return how many of the rows it covers now."""
        if horizon is None:
            return 0
        final = bisect.bisect_left(rows, horizon, key=_order)
        reached: Position[Order]
        if complete or final < len(rows):
            # Everything below the horizon has been read, the last of it in `rows`.
            reached = Position(horizon, None)
        elif rows:
            reached = Position(rows[-1].order, rows[-1].key)
        else:
            return 0
        # Observed anew after a restart, the horizon may lie below the place for a while.
        if self.position is not None and reached.order < self.position.order:
            return 0
        if reached.key is not None or self.position is None or horizon > self.position.order:
            self.position = reached
        return final

    def _load(self, checkpoint: Checkpoint) -> None:
        try:
            saved = msgspec.json.decode(checkpoint[""], type=_Saved)
            self._entries = Entries.loaded(checkpoint, saved.parts)
        except (KeyError, ValueError, msgspec.MsgspecError) as exc:
            raise SettingsError(f"the checkpoint is not that of a table: {exc}") from exc
        if saved.v != _VERSION or saved.mode != self._mode:
            raise SettingsError(
                f"the checkpoint is of rows {saved.mode!r} (version {saved.v}), the settings say {self._mode!r}:"
                " give the source another name to begin anew"
            )
        if saved.position is not None:
            order, key = saved.position
            if not isinstance(order, self._kind):
                raise SettingsError(f"the checkpoint is at {order!r}, which is no {self._kind.__name__}")
            self.position = Position(order, key)
