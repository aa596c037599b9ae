"""What the checkpoint of a source of the log holds."""

import pytest

from services.system_api.sources.table.postgresql.replication.log_state import LogState, SnapshotProgress
from services.system_api.sources.table.postgresql.replication.transactions import Change, LastChange, Place
from shared.errors import SettingsError


def test_a_source_goes_on_where_it_was() -> None:
    state = LogState("replication by id", "7/5", {})
    assert (state.place, state.snapshot) == (None, None)
    state.place, state.snapshot = Place(255, 3), SnapshotProgress("17", "1:2:", (4,))
    state.check_published("p", "3 7")
    changes = [Change(Place(255, number), 7, 99, "truncate", None) for number in (2, 3)]
    state.note_last(changes)
    state.note_last([])
    assert state.last == LastChange(255, 3, 7, 99)
    assert state.last.place == state.place
    saved = {part: value or b"" for part, value in state.saved().items()}
    again = LogState("replication by id", "7/5", saved)
    assert (again.place, again.snapshot, again.last) == (state.place, state.snapshot, state.last)
    again.check_published("p", "3 7")
    with pytest.raises(SettingsError, match="publication 'p' was altered or created again"):
        again.check_published("p", "3 8")
    assert LogState.place_of(saved[""]) == Place(255, 3)


@pytest.mark.parametrize(
    ("mode", "system", "error"),
    [
        ("replication by line", "7/5", "the checkpoint is of 'replication by id'"),
        ("replication by id", "8/5", "a place in the log of another server or database"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(mode: str, system: str, error: str) -> None:
    state = LogState("replication by id", "7/5", {})
    state.place = Place(255, 3)
    with pytest.raises(SettingsError, match=error):
        LogState(mode, system, {part: value or b"" for part, value in state.saved().items()})


@pytest.mark.parametrize("checkpoint", [{"": b"{}"}, {"x": b""}])
def test_a_checkpoint_of_another_mode_is_refused(checkpoint: dict[str, bytes]) -> None:
    with pytest.raises(SettingsError, match="not that of a table in mode replication"):
        LogState("replication by id", "7/5", checkpoint)
