"""What is known of the rows, and its parts of the checkpoint."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.table.diff import state as diff_state
from services.system_api.sources.table.diff.state import DiffState, Known
from shared.errors import SettingsError


def save(saved: dict[str, bytes], parts: dict[str, bytes | None]) -> None:
    for name, value in parts.items():
        if value is None:
            saved.pop(name)
        else:
            saved[name] = value


@given(st.integers(0, 2**32))
def test_what_was_saved_is_what_is_known(seed: int) -> None:
    rng = random.Random(seed)
    saved: dict[str, bytes] = {}
    state = DiffState("m", saved)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diff_state, "_LARGEST", 4)
        patch.setattr(diff_state, "_LONGEST", 12)
        for _ in range(30):
            if rng.random() < 0.3:
                state = DiffState("m", saved)
            state.begin_pass()
            keys = [str(rng.randrange(10 ** rng.randrange(1, 6))) for _ in range(rng.randrange(6))]
            changed = {key: Known(f"{rng.random()}", state.revision, rng.choice([None, key, "who"])) for key in keys}
            deleted = [key for key in state.known if key not in changed and rng.random() < 0.3]
            save(saved, state.put(changed.items(), deleted))
            again = DiffState("m", saved)
            assert again.known == state.known
            assert all(len(part.keys) <= 4 for part in again._parts.values())


def test_a_batch_saves_only_the_parts_of_its_rows() -> None:
    state = DiffState("m", {})
    state.begin_pass()
    for number in range(5):
        assert state.put((f"{number} {key}", Known("d", 1, None)) for key in range(1000)).keys() == {"", f"d{number}"}
    assert state.put([("3 7", Known("e", 2, None))]).keys() == {"", "d3"}
    assert state.put([], ["1 1", "1 2", "unknown"]).keys() == {"", "d1"}
    assert state.put([], ["unknown"]) == {}


def test_a_part_that_is_empty_is_removed_and_its_number_used_again() -> None:
    state = DiffState("m", {})
    state.put((f"{key}", Known("d", 1, None)) for key in range(2000))
    parts = state.put([], [f"{key}" for key in range(1000)])
    assert parts["d0"] is None
    assert state.put([("new", Known("d", 1, None))]).keys() == {"", "d0"}


def test_the_revision_is_that_of_the_last_pass_that_was_saved() -> None:
    state = DiffState("m", {})
    for _ in range(3):
        state.begin_pass()
    saved: dict[str, bytes] = {}
    save(saved, state.put([("a", Known("d", 3, "a"))]))
    assert DiffState("m", saved).revision == 3


@pytest.mark.parametrize(
    "checkpoint",
    [
        {"": b"nonsense"},
        {"d0": b"[]"},
        {"": b'{"v":1,"mode":"m","revision":1}', "dx": b"[]"},
        {"": b'{"v":1,"mode":"m","revision":1}', "d1": b"[1]"},
        {"": b'{"v":9,"mode":"m","revision":1}'},
        {"": b'{"v":1,"mode":"by id (bigint)","revision":1}'},
        {"": b'{"v":1,"mode":"by id (bigint)","position":null,"parts":0}'},
    ],
)
def test_a_checkpoint_of_another_kind_is_an_error(checkpoint: dict[str, bytes]) -> None:
    with pytest.raises(SettingsError, match=r"the checkpoint .* give the source another name"):
        DiffState("m", checkpoint)


def test_a_snapshot_lasts_until_a_pass_has_published_all_rows() -> None:
    state = DiffState("m", {})
    parts = state.begin_snapshot()
    again = DiffState("m", {part: value for part, value in parts.items() if value is not None})
    assert again.snapshot
    assert again.end_snapshot() == {"s": None}
    assert not again.snapshot
