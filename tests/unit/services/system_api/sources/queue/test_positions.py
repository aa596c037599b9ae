"""A position is published once: below the mark, or one by one above it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.queue.message import Message
from services.system_api.sources.queue.positions import LAST, LIMIT, Mark, Positions
from shared.errors import SettingsError

OF = "stream 'orders'"


def message(position: object, partition: str = "") -> Message:
    return Message(str(position), b"1", position=position, partition=partition)


def saved(positions: Positions[int]) -> dict[str, bytes]:
    return {part: value for part, value in positions.take_checkpoint().items() if value is not None}


@given(st.lists(st.integers(0, 30), unique=True, max_size=30), st.integers(0, 31))
def test_whatever_the_order_exactly_what_was_added_is_published(added: list[int], bound: int) -> None:
    mark: Mark[int] = Mark()
    for position in added:
        assert not mark.published(position)
        mark.add(position, contiguous=False)
    assert {position for position in range(31) if mark.published(position)} == set(added)
    assert mark.highest == max(added, default=None)
    mark.raise_mark(bound)
    # Below the mark counts as published: the caller knows that nothing else can come there.
    assert mark.mark == max((position for position in added if position <= bound), default=None)
    assert mark.above == sorted(position for position in added if position > bound)


def test_what_comes_in_order_is_one_mark() -> None:
    positions = Positions(OF, int, {})
    for position in (3, 4, 9):
        positions.add(message(position))
    assert json.loads(saved(positions)[""]) == {
        "v": 1, "of": OF, "epoch": "", "incarnation": 0, "mark": 9, "above": [], "facts": {},
    }  # fmt: skip
    assert positions.take_checkpoint() == {}
    assert [positions.published(message(position)) for position in (3, 9, 10)] == [True, True, False]


def test_while_something_may_come_below_positions_are_kept_one_by_one_and_saved() -> None:
    positions = Positions(OF, int, {})
    positions.add(message(1))
    positions.gaps = True
    positions.add(message(5))
    positions.add(message(7))
    again = Positions(OF, int, saved(positions))
    assert [position for position in range(9) if again.published(message(position))] == [0, 1, 5, 7]
    again.add(message(3))
    assert (again.of().mark, again.of().above) == (3, [5, 7])
    again.of().raise_mark(None)
    assert (again.of().mark, again.of().above) == (7, [])


def test_an_added_position_closes_the_gaps_below_it_if_nothing_can_come_there() -> None:
    mark: Mark[int] = Mark()
    mark.add(5, contiguous=False)
    mark.add(5, contiguous=False)
    mark.add(7, contiguous=True)
    assert (mark.mark, mark.above) == (7, [])


def test_each_partition_has_a_part_of_the_checkpoint() -> None:
    positions = Positions(OF, int, {})
    positions.add(message(4, "0"))
    positions.add(message(2, "1"))
    parts = saved(positions)
    positions.add(message(5, "0"))
    assert set(positions.take_checkpoint()) == {"0"}
    assert {part: json.loads(value)["mark"] for part, value in parts.items()} == {"0": 4, "1": 2}


def test_pairs_are_positions_too() -> None:
    positions = Positions(OF, tuple[int, int], {})
    positions.add(message((5, 0)))
    positions.gaps = True
    positions.add(message((5, 2)))
    parts = {part: value for part, value in positions.take_checkpoint().items() if value is not None}
    again = Positions(OF, tuple[int, int], parts)
    assert again.of().mark == (5, 0)
    assert [again.published(message(each)) for each in ((5, 1), (5, 2))] == [False, True]


def test_a_replaced_log_begins_anew_with_other_ids() -> None:
    mark: Mark[int] = Mark()
    mark.begin("first", None)
    mark.add(9, contiguous=True)
    mark.facts["last"] = "digest"
    assert mark.prefix == ""
    mark.replace("second")
    assert (mark.epoch, mark.mark, mark.prefix, mark.facts, mark.changed) == ("second", None, "r1.", {}, True)
    mark.reset(4)
    assert (mark.epoch, mark.mark, mark.prefix) == ("second", 4, "r1.")
    mark.truncate(2)
    assert (mark.epoch, mark.mark, mark.prefix) == ("second", 2, "r2.")


def test_the_digest_is_that_of_the_highest_published_position() -> None:
    positions = Positions(OF, int, {})
    positions.add(message(1)._replace(digest="one"))
    assert positions.of().facts == {LAST: "one"}
    positions.gaps = True
    positions.add(message(5)._replace(digest="five"))
    positions.add(message(3)._replace(digest="three"))
    assert positions.of().facts == {LAST: "five"}
    positions.add(message(6))
    assert positions.of().facts == {}, "it has none"
    positions.add(message(7)._replace(digest="seven"))
    positions.of().reset(4)
    assert positions.of().facts == {}


def test_too_many_positions_above_the_mark_are_said() -> None:
    mark: Mark[int] = Mark()
    mark.above = list(range(LIMIT - 1))
    assert not mark.full
    mark.add(LIMIT, contiguous=False)
    assert mark.full


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (b"17", "not that of"),
        (b'{"v":1,"of":"stream \'others\'","epoch":"","incarnation":0,"mark":1,"above":[],"facts":{}}', "others"),
        (b'{"v":2,"of":"stream \'orders\'","epoch":"","incarnation":0,"mark":1,"above":[],"facts":{}}', "version 2"),
        (
            b'{"v":1,"of":"stream \'orders\'","epoch":"","incarnation":0,"mark":[1,2],"above":[],"facts":{}}',
            "positions of another kind",
        ),
    ],
)
def test_the_checkpoint_of_another_source_is_refused(value: bytes, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        Positions(OF, int, {"": value})


def test_the_checkpoint_of_other_places_keeps_what_ids_are_made_of() -> None:
    positions = Positions("topic 't'", int, {})
    mark = positions.of("t/0")
    mark.begin("e", 5)
    mark.replace("f")
    mark.facts = {"kept": 1, "gone": 2}
    mark.add(9, contiguous=True)
    moved = Positions("topic 't'", int, positions.checkpoint_after({"t/0": 3, "t/1": None}, without=["gone"]))
    found = moved.of("t/0")
    assert (found.mark, found.above, found.epoch, found.prefix, found.facts) == (3, [], "f", "r1.", {"kept": 1})
    assert moved.of("t/1").mark is None
    assert mark.mark == 9, "the source itself has not moved"
