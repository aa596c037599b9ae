"""The rows of an outbox that are published and not removed yet."""

import pytest

from services.system_api.sources.table.outbox.state import OutboxState
from shared.errors import SettingsError


def saved(checkpoint: dict[str, bytes], parts: dict[str, bytes | None]) -> dict[str, bytes]:
    return {name: value for name, value in (checkpoint | parts).items() if value is not None}


def test_the_rows_of_a_batch_are_known_until_they_are_removed() -> None:
    state = OutboxState("m", {})
    first = state.take(["1", "2"])
    second = state.take(["3"])
    assert first.keys() == {"o0", ""}
    assert second.keys() == {"o1", ""}
    assert state.known == ["1", "2", "3"]
    assert state.committed == []
    state.note_committed(first)
    assert state.committed == ["o0"]
    assert state.keys("o0") == ["1", "2"]
    state.removed("o0")
    assert (state.known, state.committed) == (["3"], [])
    third = state.take(["4"])
    assert third["o0"] is None
    assert third.keys() == {"o0", "o2", ""}
    assert state.take([]) == {}


def test_what_a_checkpoint_has_is_published_and_to_be_removed() -> None:
    state = OutboxState("m", {})
    checkpoint = saved({}, state.take(["1"], ["9"]))
    again = OutboxState("m", checkpoint)
    assert again.committed == ["o0"]
    assert again.known == ["1", "9"]
    assert again.checkpoint() == checkpoint == state.checkpoint()
    assert again.take(["2"]).keys() == {"o1", ""}


def test_a_checkpoint_without_rejected_rows_has_no_part_for_them() -> None:
    state = OutboxState("m", {})
    checkpoint = saved({}, state.take(["1"]))
    assert state.checkpoint() == checkpoint
    assert checkpoint.keys() == {"o0", ""}


def test_rejected_rows_are_known_until_they_are_gone() -> None:
    state = OutboxState("m", {})
    checkpoint = saved({}, state.take([], ["8", "9"]))
    assert checkpoint.keys() == {"r", ""}
    assert state.take([], []) == {}
    state.forget_rejected(["7", "8"])
    checkpoint = saved(checkpoint, state.take([]))
    assert list(OutboxState("m", checkpoint).rejected) == ["9"]
    state.forget_rejected(["9"])
    assert state.take([])["r"] is None


def test_many_rejected_rows_are_saved_in_parts() -> None:
    state = OutboxState("m", {})
    keys = [f"k{number}" for number in range(2500)]
    checkpoint: dict[str, bytes] = {}
    for begin in range(0, 2500, 100):
        parts = state.take([], keys[begin : begin + 100])
        assert len(parts) <= 3, "a batch saves few parts"
        checkpoint = saved(checkpoint, parts)
    assert checkpoint.keys() == {"r", "r1", "r2", ""}
    assert state.take([], keys[:10]) == {}, "they are known"
    again = OutboxState("m", checkpoint)
    assert list(again.rejected) == keys
    assert again.checkpoint() == checkpoint
    again.forget_rejected(keys[1000:2000])
    parts = again.take([])
    assert parts.keys() == {"r1", ""}
    assert parts["r1"] is None
    assert again.checkpoint() == saved(checkpoint, parts)
    assert list(OutboxState("m", saved(checkpoint, parts)).rejected) == keys[:1000] + keys[2000:]


def test_a_part_of_rejected_rows_with_long_keys_has_few_of_them() -> None:
    state = OutboxState("m", {})
    state.take([], [f"{number}" * 100_000 for number in range(5)])
    assert [len(value) < 300_000 for value in state.checkpoint().values()] == [True] * 4


def test_a_row_whose_event_the_bus_has_refused_stays() -> None:
    state = OutboxState("m", {})
    parts = state.take(["1", "2"])
    state.note_committed(parts | {"r": None, "o9": None}, ["2", "elsewhere"])
    assert state.keys("o0") == ["1"]
    assert list(state.rejected) == ["2"]
    state.removed("o0")
    assert state.take([]).keys() == {"o0", "r", ""}


@pytest.mark.parametrize(
    "checkpoint",
    [
        {"": b"nonsense"},
        {"o0": b"[]"},
        {"": b'{"v":1,"mode":"m","next":1}', "o0": b"{}"},
        {"": b'{"v":1,"mode":"m","next":1}', "r": b"1"},
        {"": b'{"v":1,"mode":"m","next":1}', "rx": b"[]"},
        {"": b'{"v":2,"mode":"m","next":1}'},
        {"": b'{"v":1,"mode":"by id (bigint)","next":1}'},
    ],
)
def test_a_checkpoint_of_another_kind_is_an_error(checkpoint: dict[str, bytes]) -> None:
    with pytest.raises(SettingsError, match=r"the checkpoint .* give the source another name"):
        OutboxState("m", checkpoint)
