"""What became of dead letters: the decisions of operators, as records of a compacted topic, and their index. No I/O.

The key of a decision is the name of its letter. It is written in the transaction that replays the event, so that a
letter whose decision is there was replayed, and one without a decision was not.
"""

from array import array
from collections import Counter
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
    """Of a replay: `pipeline`, or `pipeline:` or `channel:` and a name."""
    edited: bool = False
    reason: str = ""

    def record(self, place: Place) -> Outgoing:
        """Return the record that says so of one letter."""
        return Outgoing(str(place).encode(), msgspec.json.encode(self))


_decode = msgspec.json.Decoder(Decision).decode


class _Chunk:
    """The numbers of the decisions on `_CHUNK` letters."""

    __slots__ = ("decided", "numbers")

    def __init__(self) -> None:
        self.numbers = array("I", bytes(4 * _CHUNK))
        self.decided = 0
        """How many of them are not 0."""


class DecisionIndex:
    """The decisions on the letters of one topic, by place. What is deleted takes no memory."""

    def __init__(self, epoch: str) -> None:
        """`epoch` is the id of the dead-letter topic."""
        self.epoch = epoch
        self._chunks: dict[Place, _Chunk] = {}
        self._known: dict[int, tuple[Decision, bytes]] = {}
        """By number, from 1: the decisions, with their bytes."""
        self._numbers: dict[bytes, int] = {}
        """By the bytes of a decision: its number."""
        self._uses: Counter[int] = Counter()
        """By number: of how many letters it is the decision."""
        self._next = 1
        self._foreign: set[Place] = set()
        """Places of letters of an earlier topic, on which there are decisions; some of them where there are many."""

    def take(self, records: Sequence[Record]) -> None:
        """Add the decisions of records, in their order. Records that are none are left out."""
        for record in records:
            try:
                place = parse_place((record.key or b"").decode(errors="replace"))
                self._set(place, self._number(record.value))
            except (Malformed, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if record.value is None or self.of(place) is not None:
                self._foreign.discard(place)
            elif len(self._foreign) < _TOMBSTONES:
                self._foreign.add(place)

    def of(self, place: Place) -> Decision | None:
        """Return the decision on a letter; None while it is open."""
        chunk = self._chunks.get(_chunk(place))
        number = 0 if chunk is None else chunk.numbers[place.offset % _CHUNK]
        return self._known[number][0] if number else None

    def status(self, place: Place) -> Status:
        """Return what became of a letter."""
        decision = self.of(place)
        return Status.OPEN if decision is None else decision.status

    def expired(self, earliest: Iterable[Place]) -> list[Outgoing]:
        """Return the records that delete decisions on letters before these places; each time not too many.

        Decisions on letters of an earlier topic are among them, for the partitions of these places.
        """
        limits = dict(earliest)
        found = [_deleted(place) for place in sorted(self._foreign) if place.partition in limits]
        for begin, chunk in self._chunks.items():
            for index in range(min(_CHUNK, limits.get(begin.partition, 0) - begin.offset)):
                if len(found) >= _TOMBSTONES:
                    return found
                if chunk.numbers[index]:
                    found.append(_deleted(Place(begin.partition, begin.offset + index)))
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
            number, self._next = self._next, self._next + 1
            self._known[number] = decision, value
            self._numbers[value] = number
        return number

    def _set(self, place: Place, number: int) -> None:
        begin = _chunk(place)
        chunk = self._chunks.get(begin)
        if chunk is None:
            if not number:
                return
            chunk = self._chunks[begin] = _Chunk()
        index = place.offset % _CHUNK
        before, chunk.numbers[index] = chunk.numbers[index], number
        chunk.decided += bool(number) - bool(before)
        if number:
            self._uses[number] += 1
        if before:
            self._drop(before)
        if not chunk.decided:
            del self._chunks[begin]

    def _drop(self, number: int) -> None:
        """Note that a letter has this decision no more; forget one that no letter has."""
        self._uses[number] -= 1
        if not self._uses[number]:
            del self._uses[number]
            _, value = self._known.pop(number)
            del self._numbers[value]


def _deleted(place: Place) -> Outgoing:
    return Outgoing(str(place).encode(), None)


def _chunk(place: Place) -> Place:
    return Place(place.partition, place.offset - place.offset % _CHUNK)
