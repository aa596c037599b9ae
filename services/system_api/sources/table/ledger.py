"""What has been emitted, and what is saved of it, so that a row is emitted once however often it is read.

Below the horizon a place suffices: everything up to it has been emitted. Above it rows are emitted as they appear, and
remembered one by one, until the horizon has passed them.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

import msgspec

from services.system_api.source import Checkpoint
from services.system_api.sources.table.horizon import Order
from shared.errors import SettingsError

_VERSION = 1
_ENTRY_PART = "e"


class Place(NamedTuple):
    """How far everything has been emitted: all rows of a lower order, and those of this order up to `key`."""

    order: Order
    key: str | None
    """None: no row of this order."""


class Row(NamedTuple):
    """One row as it was read."""

    order: Order
    key: str
    version: str
    """Tells one state of the row from another of the same order."""
    subject: str | None
    data: bytes

    @property
    def identity(self) -> str:
        """What tells this state of this row from every other."""
        return f"{self.version} {self.key}"


class _Saved(msgspec.Struct, frozen=True):
    """The main part of a checkpoint."""

    v: int
    mode: str
    place: Place | None
    parts: int
    """The number of the next part."""


_Entry = tuple[Order, str]
_order = attrgetter("order")
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Part:
    """The rows above the horizon that one batch emitted, saved with that batch."""

    name: str
    highest: Order


class Ledger:
    """Where a table source is."""

    def __init__(self, mode: str, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            SettingsError: it is not of this kind of source, or of another mode.
        """
        self._mode = mode
        self.place: Place | None = None
        self.emitted: dict[str, Order] = {}
        """Rows above the place that have been emitted, by identity."""
        self._parts: list[_Part] = []
        self._next_part = 0
        if checkpoint:
            self._load(checkpoint)

    def take(
        self, rows: Sequence[Row], horizon: Order | None, *, complete: bool
    ) -> tuple[list[Row], dict[str, bytes | None]]:
        """Return those rows that were not emitted before, and what to save with them.

        `rows` are all there are above the place, in order, less those emitted; `complete` says that there are no
        more. Without that, rows beyond the last one may be missing, below the horizon as well.
        """
        covered = self._advance(rows, horizon, complete=complete)
        fresh = [row for row in rows if row.identity not in self.emitted]
        early = [(row.order, row.identity) for row in rows[covered:] if row.identity not in self.emitted]
        self.emitted.update((identity, order) for order, identity in early)
        saved = self._prune()
        if early:
            part = _Part(f"{_ENTRY_PART}{self._next_part}", max(order for order, _ in early))
            self._next_part += 1
            self._parts.append(part)
            saved[part.name] = _encode(early)
        if fresh or saved:
            saved[""] = _encode(_Saved(_VERSION, self._mode, self.place, self._next_part))
        return fresh, saved

    def _advance(self, rows: Sequence[Row], horizon: Order | None, *, complete: bool) -> int:
        """Move the place over what is final and read; return how many of the rows it covers now."""
        if horizon is None:
            return 0
        final = bisect.bisect_left(rows, horizon, key=_order)
        if complete or final < len(rows):
            # Everything below the horizon has been read, the last of it in `rows`.
            reached = Place(horizon, None)
        elif rows:
            reached = Place(rows[-1].order, rows[-1].key)
        else:
            return 0
        # Observed anew after a restart, the horizon may lie below the place for a while.
        if self.place is not None and reached.order < self.place.order:
            return 0
        if reached != (horizon, None) or self.place is None or horizon > self.place.order:
            self.place = reached
        return final

    def _prune(self) -> dict[str, bytes | None]:
        """Forget what the place has passed, and return the parts that are not needed any more."""
        if self.place is None:
            return {}
        lowest = self.place.order
        if any(order < lowest for order in self.emitted.values()):
            self.emitted = {identity: order for identity, order in self.emitted.items() if order >= lowest}
        gone = [part for part in self._parts if part.highest < lowest]
        self._parts = [part for part in self._parts if part.highest >= lowest]
        return {part.name: None for part in gone}

    def _load(self, checkpoint: Checkpoint) -> None:
        try:
            saved = msgspec.json.decode(checkpoint[""], type=_Saved)
            for name, value in checkpoint.items():
                if name.startswith(_ENTRY_PART):
                    entries = msgspec.json.decode(value, type=list[_Entry])
                    self.emitted.update((identity, order) for order, identity in entries)
                    self._parts.append(_Part(name, max(order for order, _ in entries)))
        except (KeyError, ValueError, msgspec.MsgspecError) as exc:
            raise SettingsError(f"the checkpoint is not that of a table: {exc}") from exc
        if saved.v != _VERSION or saved.mode != self._mode:
            raise SettingsError(
                f"the checkpoint is of mode {saved.mode!r} (version {saved.v}), the settings say {self._mode!r}:"
                " give the source another name to begin anew"
            )
        self.place = saved.place
        self._next_part = saved.parts
