"""The index of decisions: what became of each letter, in little memory."""

import random

from services.process_api.dead_letters.decisions import Decision, DecisionIndex, Status
from services.process_api.dead_letters.places import Place
from shared.bus.memory.log import MemoryRecord
from shared.bus.protocol import Outgoing


def decision(operation: str = "a", status: Status = Status.DROPPED, epoch: str = "e") -> Decision:
    return Decision(status, operation, "ann", 1_700_000_000_000, epoch)


def taken(index: DecisionIndex, *outgoing: Outgoing) -> None:
    index.take([MemoryRecord("decisions", 0, 0, 0, each.key, each.value, ()) for each in outgoing])


def test_a_letter_is_open_until_it_is_decided_on() -> None:
    index = DecisionIndex("e")
    place = Place(0, 9000)
    assert (index.of(place), index.status(place)) == (None, Status.OPEN)
    taken(index, decision().record(place))
    assert (index.of(place), index.status(place)) == (decision(), Status.DROPPED)
    assert index.status(Place(0, 9001)) is index.status(Place(1, 9000)) is Status.OPEN


def test_the_last_decision_counts_and_none_is_left_once_it_is_deleted() -> None:
    index, place = DecisionIndex("e"), Place(0, 1)
    taken(index, Outgoing(b"0-5000", None), decision("a").record(place), decision("b", Status.REPLAYED).record(place))
    assert index.of(place) == decision("b", Status.REPLAYED)
    taken(index, Outgoing(b"0-1", None))
    assert index.of(place) is None


def test_records_that_are_no_decisions_of_this_topic_are_left_out() -> None:
    index = DecisionIndex("e")
    taken(index, Outgoing(b"\0marker", b"x"), Outgoing(b"0-1", b"no JSON"), Outgoing(b"0-2", b'{"status":"lost"}'))
    taken(index, Outgoing(b"0-4", b'{"status":"\xff"}'))
    taken(index, decision(epoch="another topic").record(Place(0, 3)))
    assert [index.status(Place(0, number)) for number in range(5)] == [Status.OPEN] * 5


def test_decisions_on_letters_that_are_gone_are_deleted_not_too_many_at_once() -> None:
    index = DecisionIndex("e")
    places = random.Random(3).sample([Place(0, offset) for offset in range(20_000)], 3000)
    taken(index, *(decision().record(place) for place in places))
    gone = {place for place in places if place.offset < 12_000}
    found: set[bytes] = set()
    while expired := index.expired([Place(0, 12_000)]):
        assert len(expired) <= 1000
        assert all(each.value is None for each in expired)
        found |= {each.key for each in expired}
        taken(index, *expired)
    assert found == {str(place).encode() for place in gone}
    assert all(index.of(place) is not None for place in set(places) - gone)
    assert index.expired([]) == []


def test_decisions_that_are_deleted_take_no_memory() -> None:
    """Each of many letters had a decision of its own, in the order of any days."""
    index, rng = DecisionIndex("e"), random.Random(5)
    places = rng.sample([Place(rng.randrange(2), offset) for offset in range(20_000)], 500)
    for number, place in enumerate(places):
        taken(index, decision(f"first {number}").record(place), decision(str(number)).record(place))
    assert len(index._known) == len(index._numbers) == len(index._uses) == 500
    assert [index.of(place) for place in places] == [decision(str(number)) for number in range(500)]
    taken(index, *(Outgoing(str(place).encode(), None) for place in places))
    assert not index._known
    assert not index._numbers
    assert not index._uses
    assert not index._chunks


def test_decisions_on_letters_of_an_earlier_topic_are_deleted() -> None:
    index = DecisionIndex("e")
    taken(index, *(decision(epoch="earlier").record(Place(number % 2, number)) for number in range(6)))
    taken(index, decision().record(Place(0, 0)), Outgoing(b"0-2", None))
    found = index.expired([Place(0, 0)])
    assert found == [Outgoing(b"0-4", None)], "those of the other partition are for its own writer"
    taken(index, *found)
    assert index.expired([Place(0, 0)]) == []
    assert index.of(Place(0, 0)) == decision()


def test_not_too_many_places_of_an_earlier_topic_are_kept() -> None:
    index = DecisionIndex("e")
    taken(index, *(decision(epoch="earlier").record(Place(0, number)) for number in range(2500)))
    assert len(index.expired([Place(0, 0)])) == 1000
