"""The rows that were emitted above the horizon: known by heart, and saved in parts.

Each batch saves a part of its own, and merges it with the ones before that are no larger: so little is written with
each batch, however long a transaction stays open, and little is left to be read after a restart.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from services.system_api.sources.source import Checkpoint

_PREFIX = "e"
_LARGEST = 2000
"""Entries in a part."""
_LONGEST = 512 * 1024
"""Characters of all identities in a part: well below what the bus takes in a record, whatever they are in JSON."""

Order = TypeVar("Order", int, str)
"""What rows are ordered by: a key, microseconds, or times as text; of one type within a table."""

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Part(Generic[Order]):
    name: str
    entries: list[tuple[Order, str]]


class Entries(Generic[Order]):
    """Identities of rows, with their orders."""

    def __init__(self) -> None:
        self.known: dict[str, Order] = {}
        self.next_part = 0
        self._parts: list[_Part[Order]] = []

    @classmethod
    def loaded(cls, checkpoint: Checkpoint, next_part: int) -> "Entries[Order]":
        """Go on with what a checkpoint holds.

        Raises:
            ValueError: something else is in the place of a part.
        """
        entries: Entries[Order] = cls()
        names = [name for name in checkpoint if name.startswith(_PREFIX)]
        for name in sorted(names, key=lambda name: int(name.removeprefix(_PREFIX))):
            found = msgspec.json.decode(checkpoint[name], type=list[tuple[int | str, str]])
            part: _Part[Order] = _Part(name, found)  # type: ignore[arg-type] # of the type that the place has
            entries._parts.append(part)
            entries.known.update((identity, order) for order, identity in part.entries)
        entries.next_part = next_part
        return entries

    def add(self, fresh: Sequence[tuple[Order, str]]) -> dict[str, bytes | None]:
        """Remember rows; return the parts to save."""
        self.known.update((identity, order) for order, identity in fresh)
        touched: set[str] = set()
        for entries in _cut(fresh):
            part = _Part(f"{_PREFIX}{self.next_part}", entries)
            while self._parts and _belong_together(self._parts[-1], part):
                before = self._parts.pop()
                touched.add(before.name)
                part = _Part(before.name, before.entries + part.entries)
            self.next_part = int(part.name.removeprefix(_PREFIX)) + 1
            self._parts.append(part)
            touched.add(part.name)
        return self._saved(touched)

    def forget_below(self, order: Order) -> dict[str, bytes | None]:
        """Forget what the place has passed; return the parts that go with it."""
        gone = {part.name for part in self._parts if all(of_row < order for of_row, _ in part.entries)}
        if any(of_row < order for of_row in self.known.values()):
            self.known = {identity: of_row for identity, of_row in self.known.items() if of_row >= order}
            for part in self._parts:
                part.entries = [entry for entry in part.entries if entry[0] >= order]
        self._parts = [part for part in self._parts if part.name not in gone]
        return dict.fromkeys(gone)

    def _saved(self, names: Iterable[str]) -> dict[str, bytes | None]:
        kept = {part.name: _encode(part.entries) for part in self._parts if part.name in names}
        return {name: kept.get(name) for name in names}


def _cut(fresh: Sequence[tuple[Order, str]]) -> Iterator[list[tuple[Order, str]]]:
    """Divide entries into such numbers as fit a part."""
    piece, length = list[tuple[Order, str]](), 0
    for entry in fresh:
        if piece and (len(piece) == _LARGEST or length + len(entry[1]) > _LONGEST):
            yield piece
            piece, length = [], 0
        piece.append(entry)
        length += len(entry[1])
    yield piece


def _belong_together(before: _Part[Order], part: _Part[Order]) -> bool:
    size = len(before.entries)
    if size > 2 * len(part.entries) or size + len(part.entries) > _LARGEST:
        return False
    return sum(len(identity) for _, identity in before.entries + part.entries) <= _LONGEST
