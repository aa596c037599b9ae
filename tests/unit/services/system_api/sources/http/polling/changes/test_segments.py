"""Entries in parts of bounded size, of which a batch saves those that changed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.http.polling.changes.segments import Segments
from shared.errors import SettingsError

Saved = dict[str, bytes]


def save(segments: Segments, saved: Saved) -> dict[str, bytes | None]:
    changed = segments.take_changed()
    for part, value in changed.items():
        if value is None:
            saved.pop(part, None)
        else:
            saved[part] = value
    return changed


def test_a_batch_saves_the_parts_that_it_changed() -> None:
    segments, saved = Segments({}), Saved()
    for number in range(2000):
        segments.put(f"record {number}", [number])
    assert len(save(segments, saved)) > 3
    assert all(len(part) < 25_000 for part in saved.values())
    segments.put("record 1", ["changed"])
    assert list(save(segments, saved)) == ["records/0"]
    segments.put("one more", [1])
    assert len(save(segments, saved)) == 1
    assert save(segments, saved) == {}


def test_an_empty_part_is_removed_and_its_number_is_used_again() -> None:
    segments, saved = Segments({}), Saved()
    for number in range(1000):
        segments.put(f"record {number}", [number])
    save(segments, saved)
    parts = set(saved)
    for number in range(1000):
        segments.discard(f"record {number}")
    assert set(save(segments, saved).values()) == {None}
    for number in range(1000):
        segments.put(f"again {number}", [number])
    save(segments, saved)
    assert set(saved) <= parts


_ids = st.sampled_from([f"r{number}" for number in range(30)])
_steps = st.one_of(st.tuples(st.just("put"), _ids), st.tuples(st.just("discard"), _ids), st.just(("save", "")))


@given(st.lists(_steps, max_size=80))
def test_it_is_a_mapping_and_its_parts_hold_it(steps: list[tuple[str, str]]) -> None:
    segments, saved, expected = Segments({}), Saved(), dict[str, list[int]]()
    for count, (step, identity) in enumerate(steps):
        match step:
            case "put":
                segments.put(identity, [count])
                expected[identity] = [count]
            case "discard":
                segments.discard(identity)
                expected.pop(identity, None)
            case _:
                save(segments, saved)
        assert len(segments) == len(expected)
    save(segments, saved)
    again = Segments(saved)
    for found in (segments, again):
        assert dict(found.items()) == expected
        assert set(found.ids()) == set(expected)
        assert all(found.get(identity) == entry for identity, entry in expected.items())
        assert "no such id" not in found
        assert found.get("no such id") is None
    merged: dict[str, list[int]] = {}
    for part in saved.values():
        merged |= json.loads(part)
    assert merged == expected


@pytest.mark.parametrize("part", ["records/x", "records/0"])
def test_a_checkpoint_of_another_kind_is_an_error(part: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown part '{part}'"):
        Segments({part: b"[]"})


def test_other_parts_are_left_alone() -> None:
    assert len(Segments({"": b"{}", "rejected": b"[]"})) == 0
