"""The rows that were emitted above the horizon: kept in memory, and saved in parts of the checkpoint.

Each batch saves a part of its own, merged with the previous parts that are not much larger. So a batch writes little
however long a transaction stays open, and a restart reads few parts.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from services.system_api.sources.source import Checkpoint

_PREFIX = "e"
_LARGEST = 2000
"""Maximum number of entries in a part."""
_LONGEST = 512 * 1024
"""Maximum number of characters of all identities in a part: well below the bus's record limit, even escaped as JSON."""

_AGAIN = "~"
"""Between the version of a state that a row had before with the same order value, and how often it has it now."""

Order = TypeVar("Order", int, str)
"""The value that rows are ordered by: a key, microseconds, or a time as text; of one type within a table."""

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Part(Generic[Order]):
    name: str
    entries: list[tuple[Order, str]]


class Entries(Generic[Order]):
    """Identities of rows with their order values."""

    def __init__(self) -> None:
        self.known: dict[str, Order] = {}
        self.next_part = 0
        self._parts: list[_Part[Order]] = []
        self._last: dict[tuple[Order, str], str] = {}
        """The version of the last state of each row, by order value and key."""

    @classmethod
    def loaded(cls, checkpoint: Checkpoint, next_part: int) -> "Entries[Order]":
        """Load the entries of a checkpoint.

        Raises:
            ValueError: a part is not a list of entries.
        """
        entries: Entries[Order] = cls()
        names = [name for name in checkpoint if name.startswith(_PREFIX)]
        for name in sorted(names, key=lambda name: int(name.removeprefix(_PREFIX))):
            found = msgspec.json.decode(checkpoint[name], type=list[tuple[int | str, str]])
            part: _Part[Order] = _Part(name, found)  # type: ignore[arg-type] # of the type of the position
            entries._parts.append(part)
            entries._note(part.entries)
        entries.next_part = next_part
        return entries

    def add(self, fresh: Sequence[tuple[Order, str]]) -> dict[str, bytes | None]:
        """Add rows; return the parts to save."""
        self._note(fresh)
        touched: set[str] = set()
        for entries in _cut(fresh):
            part = _Part(f"{_PREFIX}{self.next_part}", entries)
            while self._parts and _mergeable(self._parts[-1], part):
                before = self._parts.pop()
                touched.add(before.name)
                part = _Part(before.name, before.entries + part.entries)
            self.next_part = int(part.name.removeprefix(_PREFIX)) + 1
            self._parts.append(part)
            touched.add(part.name)
        return self._saved(touched)

    def has(self, order: Order, version: str, key: str) -> bool:
        """Return whether this is the last state of a row that was added, of those with this order value."""
        if " " in version:  # the text of a time, which is another one for each state
            return self.known.get(f"{version} {key}") == order
        return self._last.get((order, key)) == version

    def distinct(self, order: Order, version: str, key: str) -> str:
        """Return a version that no state of a row with this order value has yet: the same where it is a new one."""
        found, number = version, 1
        while self.known.get(f"{found} {key}") == order:
            number += 1
            found = f"{version}{_AGAIN}{number}"
        return found

    def _note(self, entries: Iterable[tuple[Order, str]]) -> None:
        for order, identity in entries:
            self.known[identity] = order
            version, _, key = identity.partition(" ")
            self._last[order, key] = version.partition(_AGAIN)[0]

    def forget_below(self, order: Order) -> dict[str, bytes | None]:
        """Remove rows below an order value; return the parts to remove."""
        gone = {part.name for part in self._parts if all(of_row < order for of_row, _ in part.entries)}
        if any(of_row < order for of_row in self.known.values()):
            self.known = {identity: of_row for identity, of_row in self.known.items() if of_row >= order}
            self._last = {place: version for place, version in self._last.items() if place[0] >= order}
            for part in self._parts:
                part.entries = [entry for entry in part.entries if entry[0] >= order]
        self._parts = [part for part in self._parts if part.name not in gone]
        return dict.fromkeys(gone)

    def _saved(self, names: Iterable[str]) -> dict[str, bytes | None]:
        kept = {part.name: _encode(part.entries) for part in self._parts if part.name in names}
        return {name: kept.get(name) for name in names}


def _cut(fresh: Sequence[tuple[Order, str]]) -> Iterator[list[tuple[Order, str]]]:
    """Divide entries into lists that fit a part."""
    piece, length = list[tuple[Order, str]](), 0
    for entry in fresh:
        if piece and (len(piece) == _LARGEST or length + len(entry[1]) > _LONGEST):
            yield piece
            piece, length = [], 0
        piece.append(entry)
        length += len(entry[1])
    yield piece


def _mergeable(before: _Part[Order], part: _Part[Order]) -> bool:
    size = len(before.entries)
    if size > 2 * len(part.entries) or size + len(part.entries) > _LARGEST:
        return False
    return sum(len(identity) for _, identity in before.entries + part.entries) <= _LONGEST
