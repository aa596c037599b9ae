"""What one operation does with each letter, and how its letters are divided into transactions."""

import pytest

from services.process_api.dead_letters.decisions import Decision, DecisionIndex, Status
from services.process_api.dead_letters.operation import Batch, Operation, Tally, Verdict
from services.process_api.dead_letters.places import Place
from services.process_api.dead_letters.replays import Replays
from services.process_api.dead_letters.requests import DecideRequest
from shared.bus.memory.log import MemoryRecord
from shared.errors import Malformed
from tests.unit.services.process_api.dead_letters.lettering import TOPICS, bad_line, letter, reject

OWN = Decision(Status.REPLAYED, "own", "ann", 0, "e", to="pipeline")
OTHER = Decision(Status.DROPPED, "other", "bob", 0, "e")


def operation(body: bytes = b'{"all": true}', status: Status = Status.REPLAYED, at: Place | None = None) -> Operation:
    return Operation(DecideRequest.parse(status, body), OWN, Replays(TOPICS, lambda _source: {"orders": 1}), at)


def index(**decided: Decision) -> DecisionIndex:
    found = DecisionIndex("e")
    for offset, decision in decided.items():
        key, value, headers = decision.record(Place(0, int(offset[1:])))
        found.take([MemoryRecord("decisions", 0, 0, 0, key, value, headers)])
    return found


def test_a_filter_skips_letters_that_are_decided_on_already() -> None:
    made, known = operation(b'{"pipeline": "orders"}'), index(_1=OWN, _2=OTHER)
    found = [made.verdict(letter(offset=offset), known) for offset in range(3)]
    assert found == [Verdict.DECIDE, Verdict.OWN, Verdict.SKIP]
    assert made.verdict(letter(bad_line(), offset=3), known) is Verdict.SKIP


def test_letters_that_are_named_are_counted_where_another_has_decided() -> None:
    made, known = operation(b'{"ids": ["0-0", "0-1", "0-2", "0-5"]}'), index(_1=OWN, _2=OTHER)
    found = [made.verdict(letter(offset=offset), known) for offset in range(4)]
    assert found == [Verdict.DECIDE, Verdict.OWN, Verdict.EARLIER, Verdict.SKIP]
    assert made.missing(done=True) == [Place(0, 5)]
    assert made.missing(done=False) == []
    made.at = Place(0, 6)
    assert made.missing(done=False) == [Place(0, 5)]


def test_letters_before_the_cursor_are_not_missing() -> None:
    made = operation(b'{"ids": ["0-0", "0-9"]}', at=Place(0, 5))
    assert made.missing(done=True) == [Place(0, 9)]
    assert operation().missing(done=True) == []


def test_a_batch_holds_the_events_and_their_decisions() -> None:
    made = operation()
    batch = Batch(made, index(_1=OTHER))
    for offset, rejected in enumerate((reject(0), reject(1), bad_line())):
        batch.add(letter(rejected, offset=offset))
    assert [record.key for record in batch.transaction.records[TOPICS.decisions]] == [b"0-0"]
    assert [record.value for record in batch.transaction.records[TOPICS.ingest]] == [reject(0).value]
    assert (batch.tally.decided, batch.tally.refused, batch.last) == (1, 1, Place(0, 2))
    assert not made.advanced
    made.advance(batch)
    assert (made.at, made.tally.decided) == (Place(0, 3), 1)
    assert made.advanced
    assert made.epoch == OWN.epoch
    made.advance(Batch(made, index()))
    assert made.at == Place(0, 3)


def test_a_drop_writes_the_decision_alone() -> None:
    batch = Batch(operation(status=Status.DROPPED), index())
    batch.add(letter(bad_line()))
    assert set(batch.transaction.records) == {TOPICS.decisions}


def test_a_letter_that_is_named_and_decided_counts_as_decided_before() -> None:
    batch = Batch(operation(b'{"ids": ["0-0", "0-1"]}'), index(_0=OTHER, _1=OWN))
    for offset in range(2):
        batch.add(letter(offset=offset))
    assert (batch.tally.earlier, batch.tally.decided, batch.transaction.empty) == (1, 1, True)


def test_a_batch_is_full_at_so_many_letters_or_bytes() -> None:
    batch = Batch(operation(), index())
    for offset in range(500):
        assert not batch.full
        batch.add(letter(offset=offset))
    assert batch.full
    batch = Batch(operation(), index())
    batch.add(letter(reject(value=b"x" * 1_100_000, provenance=None)))
    assert batch.full


def test_a_letter_that_is_too_large_for_the_bus_is_found_and_refused() -> None:
    made = operation()
    batch = Batch(made, index())
    for offset in range(3):
        batch.add(letter(offset=offset))
    made.note_too_large(batch)
    for offset in range(3):  # each alone now
        batch = Batch(made, index())
        assert not batch.full
        batch.add(letter(offset=offset))
        assert batch.full
    made.note_too_large(batch)
    with pytest.raises(Malformed, match="refuses its event as too large"):
        made.records(letter(offset=2))
    batch = Batch(made, index())
    batch.add(letter(offset=9))
    assert not batch.full
    made.note_too_large(Batch(made, index()))


def test_a_tally_names_the_first_refusals_and_counts_all() -> None:
    tally, more = Tally(), Tally(decided=2, earlier=1)
    for number in range(30):
        tally.refuse(Place(0, number), "why")
    more.refuse(Place(1, 0), "why")
    tally.add(more)
    assert (tally.decided, tally.refused, tally.earlier, len(tally.refusals)) == (2, 31, 1, 20)
