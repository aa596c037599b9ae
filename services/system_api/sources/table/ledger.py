"""Tracks which rows have been emitted, and what is saved of that: a row is emitted once however often it is read.

Below the horizon a position is enough: everything up to it has been emitted. Above the horizon rows are emitted as they
appear, and remembered individually until the horizon has passed them.
"""

import bisect
from collections.abc import Sequence
from operator import attrgetter
from typing import Generic, NamedTuple

import msgspec

from services.system_api.sources.source import Checkpoint
from services.system_api.sources.table.checking.checkpoints import check_saved_mode, checkpoint_errors
from services.system_api.sources.table.entries import Entries, Order
from shared.errors import SettingsError

_VERSION = 1


class Position(NamedTuple, Generic[Order]):
    """Everything up to here has been emitted: all rows of a lower order value, and those of this one up to `key`."""

    order: Order
    key: str | None
    """None: no row of this order value."""


class Row(NamedTuple, Generic[Order]):
    """One row."""

    order: Order
    key: str
    version: str
    """Distinguishes states of the row that have the same order value."""
    subject: str | None
    data: bytes
    """The row as one JSON value; if `error` is set, what can be shown of the row."""
    error: str | None = None
    """Why the row cannot be an event."""

    @property
    def identity(self) -> str:
        """Unique for this state of this row."""
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
    """The position of a table source, and the rows emitted above it."""

    def __init__(self, mode: str, kind: type[Order], checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint. `mode` must be that of the checkpoint; `kind` is the type of the order value.

        Raises:
            SettingsError: the checkpoint is of another kind of source, or of another mode.
        """
        self._mode = mode
        self._kind: type[Order] = kind
        self.position: Position[Order] | None = None
        self._entries: Entries[Order] = Entries()
        if checkpoint:
            self._load(checkpoint)

    @property
    def emitted(self) -> dict[str, Order]:
        """Rows above the position that have been emitted: order values by identity."""
        return self._entries.known

    def has_emitted(self, order: Order, version: str, key: str) -> bool:
        """Return whether a state of a row above the position is the last one that has been emitted.

        Where the version is a hash of some columns, a row has it again when it gets back the contents that it had
        before: with another order value or, where many moments have one such as a day, with the same.
        """
        return self._entries.has(order, version, key)

    def checkpoint_at(self, order: Order) -> dict[str, bytes]:
        """Return the checkpoint from which all rows of this order value, and those above it, are read."""
        return {"": _encode(_Saved(_VERSION, self._mode, Position(order, None), 0))}

    def saved(self) -> dict[str, bytes | None]:
        """Return the main part of the checkpoint."""
        return {"": _encode(_Saved(_VERSION, self._mode, self.position, self._entries.next_part))}

    def take(
        self, rows: Sequence[Row[Order]], horizon: Order | None, *, complete: bool
    ) -> tuple[list[Row[Order]], dict[str, bytes | None]]:
        """Return the rows that were not emitted before, and the parts of the checkpoint to save with them.

        `rows` are the rows above the position, in order; those already emitted may be left out. If not `complete`,
        there may be more rows after the last one, below the horizon as well.
        """
        known = self._entries.known
        covered = self._advance(rows, horizon, complete=complete)
        if known:
            final = [row for row in map(self._fresh, rows[:covered]) if row is not None]
            above = [row for row in map(self._fresh, rows[covered:]) if row is not None]
        else:
            final, above = list(rows[:covered]), list(rows[covered:])
        fresh, early = final + above, [(row.order, row.identity) for row in above]
        saved: dict[str, bytes | None] = {}
        if self.position is not None and known:
            saved = self._entries.forget_below(self.position.order)
        if early:
            saved |= self._entries.add(early)
        if fresh or saved:
            saved |= self.saved()
        return fresh, saved

    def _fresh(self, row: Row[Order]) -> Row[Order] | None:
        """Return a row if its state was not emitted, with a version of its own; None if it was."""
        order, key, version, *_ = row
        if self._entries.has(order, version, key):
            return None
        distinct = self._entries.distinct(order, version, key)
        return row if distinct == version else row._replace(version=distinct)

    def _advance(self, rows: Sequence[Row[Order]], horizon: Order | None, *, complete: bool) -> int:
        """Move the position over the rows that are final and read; return how many of `rows` it covers now."""
        if horizon is None:
            return 0
        final = bisect.bisect_left(rows, horizon, key=_order)
        reached: Position[Order]
        if complete or final < len(rows):
            # Everything below the horizon has been read.
            reached = Position(horizon, None)
        elif rows:
            reached = Position(rows[-1].order, rows[-1].key)
        else:
            return 0
        # After a restart the horizon may be below the position for a while.
        if self.position is not None and reached.order < self.position.order:
            return 0
        if reached.key is not None or self.position is None or horizon > self.position.order:
            self.position = reached
        return final

    def _load(self, checkpoint: Checkpoint) -> None:
        with checkpoint_errors("a table source", "kind"):
            saved = msgspec.json.decode(checkpoint[""], type=_Saved)
            self._entries = Entries.loaded(checkpoint, saved.parts)
        check_saved_mode(saved, _VERSION, self._mode)
        if saved.position is not None:
            order, key = saved.position
            if not isinstance(order, self._kind):
                raise SettingsError(
                    f"the checkpoint is at {order!r}; expected {self._kind.__name__}:"
                    " give the source another name to start from the beginning"
                )
            self.position = Position(order, key)
