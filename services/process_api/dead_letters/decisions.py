"""What became of dead letters: the decisions of operators, as records of a compacted topic, and their index. No I/O.

The key of a decision is the name of its letter. It is written in the transaction that replays the event, so that a
letter whose decision is there was replayed, and one without a decision was not.
"""

from array import array
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from services.process_api.dead_letters.places import Place, parse_place
from shared.bus.protocol import Outgoing, Record
from shared.errors import Malformed

_CHUNK = 4096
"""Offsets whose decisions are kept in one array: a letter takes 4 bytes, and its decision is shared by those that were
decided together."""
_TOMBSTONES = 1000
"""Decisions on letters that retention has deleted and that are deleted at once."""


class Status(StrEnum):
    """What became of a letter."""

    OPEN = "open"
    REPLAYED = "replayed"
    DROPPED = "dropped"


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operator decided on some letters."""

    status: Status
    operation: str
    """The id of the request: all letters that it decided on have the same decision."""
    by: str
    at: int
    """In milliseconds since 1970."""
    epoch: str
    """The id of the dead-letter topic: offsets of another topic of this name are other letters."""
    to: str | None = None
    """Of a replay: `pipeline`, or `channel:` and its name."""
    edited: bool = False
    reason: str = ""

    def record(self, place: Place) -> Outgoing:
        """Return the record that says so of one letter."""
        return Outgoing(str(place).encode(), msgspec.json.encode(self))


_decode = msgspec.json.Decoder(Decision).decode


class DecisionIndex:
    """The decisions on the letters of one topic, by place."""

    def __init__(self, epoch: str) -> None:
        """`epoch` is the id of the dead-letter topic."""
        self.epoch = epoch
        self._chunks: dict[Place, array[int]] = {}
        self._known: list[Decision] = []
        self._numbers: dict[bytes, int] = {}
        """By the bytes of a decision: its number, from 1."""

    def take(self, records: Sequence[Record]) -> None:
        """Add the decisions of records, in their order. Records that are none are left out."""
        for record in records:
            try:
                place = parse_place((record.key or b"").decode(errors="replace"))
                self._set(place, self._number(record.value))
            except (Malformed, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue

    def of(self, place: Place) -> Decision | None:
        """Return the decision on a letter; None while it is open."""
        chunk = self._chunks.get(_chunk(place))
        number = 0 if chunk is None else chunk[place.offset % _CHUNK]
        return self._known[number - 1] if number else None

    def status(self, place: Place) -> Status:
        """Return what became of a letter."""
        decision = self.of(place)
        return Status.OPEN if decision is None else decision.status

    def expired(self, earliest: Iterable[Place]) -> list[Outgoing]:
        """Return the records that delete decisions on letters before these places; each time not too many."""
        found: list[Outgoing] = []
        limits = dict(earliest)
        for begin, chunk in list(self._chunks.items()):
            count = min(_CHUNK, limits.get(begin.partition, 0) - begin.offset)
            if count == _CHUNK and not any(chunk):
                del self._chunks[begin]
            for index in range(count):
                if chunk[index]:
                    found.append(Outgoing(str(Place(begin.partition, begin.offset + index)).encode(), None))
                    if len(found) == _TOMBSTONES:
                        return found
        return found

    def _number(self, value: bytes | None) -> int:
        """Return the number of a decision, 0 for one that is deleted or belongs to another topic."""
        if value is None:
            return 0
        number = self._numbers.get(value)
        if number is None:
            decision = _decode(value)
            if decision.epoch != self.epoch:
                return 0
            self._known.append(decision)
            number = self._numbers[value] = len(self._known)
        return number

    def _set(self, place: Place, number: int) -> None:
        chunk = self._chunks.get(_chunk(place))
        if chunk is None:
            if not number:
                return
            chunk = self._chunks[_chunk(place)] = array("I", bytes(4 * _CHUNK))
        chunk[place.offset % _CHUNK] = number


def _chunk(place: Place) -> Place:
    return Place(place.partition, place.offset - place.offset % _CHUNK)
