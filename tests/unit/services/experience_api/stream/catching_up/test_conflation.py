import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.stream.catching_up.conflation import Round, SharedRounds, subject_of
from services.experience_api.wire.frames import event_frame


def frame(identity: int = 0, **attributes: Any) -> bytes:
    return event_frame(json.dumps({"id": str(identity), **attributes}).encode(), b"AaB")


def test_a_subject_belongs_to_a_source_on_a_channel() -> None:
    found = frame(channel="a", source="/s", subject="7", data={"subject": "x"})
    assert subject_of(found) == ("a", "/s", "7")
    assert subject_of(frame(subject="7", fill="x" * 70_000)) == ("", "", "7")


@pytest.mark.parametrize(
    "attributes", [{}, {"subject": ""}, {"subject": None}, {"subject": 7}, {"channel": 1}], ids=str
)
def test_an_event_without_a_subject_has_none(attributes: dict[str, Any]) -> None:
    assert subject_of(frame(**attributes)) is None


events = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["", "1", "2", "3"])))


@given(events, st.integers(0, 20))
def test_a_round_keeps_the_latest_of_each_subject_in_order(found: list[tuple[str, str]], split: int) -> None:
    frames = [frame(number, channel=channel, subject=subject) for number, (channel, subject) in enumerate(found)]
    round_ = Round(1_000_000)
    round_.add(frames[:split])
    round_.add(frames[split:])
    last = {key: number for number, key in enumerate(found)}
    expected = [one for one, key, number in zip(frames, found, range(len(found)), strict=True)
                if not key[1] or last[key] == number]  # fmt: skip
    assert round_.empty is (not expected)
    assert round_.take() == expected
    assert round_.replaced == len(frames) - len(expected)
    assert round_.empty


def test_the_newest_rounds_are_kept() -> None:
    shared: SharedRounds[int] = SharedRounds(2)
    rounds = [Round(1000) for _ in range(3)]
    for number, each in enumerate(rounds):
        each.add([frame(0, subject="1"), frame(number, subject="1")])
        shared.keep(number, each.taken)
    assert shared.find(0) is None
    taken = shared.find(2)
    assert taken is not None
    again = Round(1000)
    again.repeat(taken)
    assert (again.replaced, again.full, again.take()) == (1, rounds[2].full, [frame(2, subject="1")])


def test_what_was_left_out_takes_no_memory() -> None:
    round_ = Round(3000)
    for number in range(100):
        round_.add([frame(number, subject="1", fill="x" * 1000)])
        assert not round_.full
    round_.add([frame(subject=str(number), fill="x" * 1000) for number in (2, 3)])
    assert round_.full
    assert len(round_.take()) == 3
    assert not round_.full
