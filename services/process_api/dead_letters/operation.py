"""One replay or drop: what it does with each letter, and how far it is. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from services.process_api.dead_letters.decisions import Decision, DecisionIndex, Status
from services.process_api.dead_letters.filters import Matcher
from services.process_api.dead_letters.letter import Letter
from services.process_api.dead_letters.places import Place
from services.process_api.dead_letters.replays import Replays
from services.process_api.dead_letters.requests import DecideRequest
from shared.bus.protocol import Outgoing, Transaction, size_of
from shared.errors import Malformed

_MOST_LETTERS = 500
_MOST_BYTES = 1024 * 1024
"""Of one transaction."""
_SHOWN = 20
"""Refusals that are named; the others are counted."""


class Verdict(Enum):
    """What an operation does with a letter, other than refuse it."""

    SKIP = auto()
    """It is about other letters."""
    EARLIER = auto()
    """Another operation has decided on it."""
    OWN = auto()
    """This operation has decided on it, in an attempt whose end is not known."""
    DECIDE = auto()


@dataclass(slots=True)
class Tally:
    """What an operation did with the letters that it has looked at."""

    decided: int = 0
    """Replayed or dropped; in a dry run, what would be."""
    refused: int = 0
    """Letters that cannot be replayed so."""
    earlier: int = 0
    """Letters that it names by their ids, and on which another operation has decided."""
    refusals: list[tuple[Place, str]] = field(default_factory=list)
    """The first letters that are refused, and why."""

    def add(self, other: "Tally") -> None:
        """Add what was done since."""
        self.decided += other.decided
        self.refused += other.refused
        self.earlier += other.earlier
        self.refusals = (self.refusals + other.refusals)[:_SHOWN]

    def refuse(self, place: Place, reason: str) -> None:
        """Count a letter that is refused."""
        self.refused += 1
        if len(self.refusals) < _SHOWN:
            self.refusals.append((place, reason))


class Operation:
    """Decides on the letters that a request is about, in their order."""

    def __init__(self, request: DecideRequest, decision: Decision, replays: Replays, at: Place | None = None) -> None:
        """`at` is where it continues."""
        self.request = request
        self.tally = Tally()
        self.at = at
        """The letters before this place are done with; None at the beginning."""
        self._began_at = at
        self.seen: set[Place] = set()
        """The letters that it names by their ids, and that are there."""
        self._decision = decision
        self._replays = replays
        self._matcher = Matcher(request.wanted)
        self._ids = None if request.ids is None else frozenset(request.ids)
        self._alone: Place | None = None
        """Each letter up to this place gets a transaction of its own, because the bus refused one as too large."""
        self._too_large: set[Place] = set()

    @property
    def epoch(self) -> str:
        """The id of the dead-letter topic whose letters it is about."""
        return self._decision.epoch

    @property
    def advanced(self) -> bool:
        """Whether it is further than at its beginning: then it has something to answer."""
        return self.at != self._began_at

    def note_too_large(self, batch: "Batch") -> None:
        """Note that the bus refused the transaction of a batch."""
        if batch.tally.decided == 1 and batch.last is not None:
            self._too_large.add(batch.last)
        self._alone = batch.last

    def verdict(self, letter: Letter, index: DecisionIndex) -> Verdict:
        """Return what becomes of a letter."""
        named = None if self._ids is None else letter.place in self._ids
        if named:
            self.seen.add(letter.place)
        if named is False or (named is None and not self._matcher.matches(letter)):
            return Verdict.SKIP
        decision = index.of(letter.place)
        if decision is None:
            return Verdict.DECIDE
        if decision.operation == self._decision.operation:
            return Verdict.OWN
        return Verdict.EARLIER if named else Verdict.SKIP

    def records(self, letter: Letter) -> dict[str, Outgoing]:
        """Return the records of the transaction that decides on a letter, by topic.

        Raises:
            Malformed: it cannot be replayed so.
        """
        if letter.place in self._too_large:
            raise Malformed("the bus refuses its event as too large")
        topics = self._replays.topics
        found = {topics.decisions: self._decision.record(letter.place)}
        if self.request.status is Status.REPLAYED:
            topic, event = self._replays.record(letter, self.request.channel, self.request.edit, self.request.pipeline)
            found[topic] = event
        return found

    def advance(self, batch: "Batch") -> None:
        """Count a batch that is committed."""
        self.tally.add(batch.tally)
        if batch.last is not None:
            self.at = batch.last._replace(offset=batch.last.offset + 1)

    def missing(self, *, done: bool) -> Sequence[Place]:
        """Return the letters that it names, that it should have seen by now, and that are not there."""
        begin, end = self._began_at, None if done else self.at
        missing = sorted((self._ids or frozenset()) - self.seen)
        return [place for place in missing if (begin is None or place >= begin) and (done or (end and place < end))]

    def is_alone(self, place: Place) -> bool:
        """Whether a letter gets a transaction of its own."""
        return self._alone is not None and place <= self._alone


class Batch:
    """Letters that are decided on in one transaction."""

    def __init__(self, operation: Operation, index: DecisionIndex) -> None:
        self.transaction = Transaction()
        self.tally = Tally()
        self.last: Place | None = None
        """The last letter that was looked at."""
        self._operation = operation
        self._index = index
        self._size = 0

    @property
    def full(self) -> bool:
        """Whether it must be committed before another letter is added."""
        alone = self.last is not None and self._operation.is_alone(self.last) and self.tally.decided > 0
        return alone or self.tally.decided >= _MOST_LETTERS or self._size >= _MOST_BYTES

    def add(self, letter: Letter) -> None:
        """Look at the next letter."""
        self.last = letter.place
        match self._operation.verdict(letter, self._index):
            case Verdict.SKIP:
                pass
            case Verdict.EARLIER:
                self.tally.earlier += 1
            case Verdict.OWN:
                self.tally.decided += 1
            case _:
                self._decide(letter)

    def _decide(self, letter: Letter) -> None:
        try:
            records = self._operation.records(letter)
        except Malformed as exc:
            self.tally.refuse(letter.place, str(exc))
            return
        self.tally.decided += 1
        for topic, record in records.items():
            self._size += size_of(record)
            self.transaction.append(topic, *record)
