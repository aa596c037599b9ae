"""A list that is compared with the last one."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from services.system_api.sources.http.polling.changes.by_snapshot import BySnapshot
from services.system_api.sources.http.polling.changes.protocol import Deletion
from services.system_api.sources.http.polling.options import BySnapshotOptions
from shared.errors import Malformed, TrelayError
from tests.unit.services.system_api.sources.http.polling.changes.making import record


def made(**options: Any) -> BySnapshot:
    return BySnapshot(BySnapshotOptions.model_validate({"kind": "snapshot"} | options), {})


def test_no_time_decides_where_it_starts() -> None:
    assert not made().note_time(5.0)


def test_an_id_that_occurs_twice_on_a_page_with_two_versions_is_refused() -> None:
    changes = made()
    assert changes.take(record("a", version="1")) == "a@1"
    with pytest.raises(Malformed, match="'a' occurs twice on one page"):
        changes.take(record("a", version="2"))


@pytest.mark.parametrize("moved", [True, False])
def test_a_record_that_is_updated_and_moves_to_another_page_has_a_position_of_its_own(*, moved: bool) -> None:
    changes = made()
    assert changes.take(record("a", version="1")) == "a@1"
    if moved:
        changes.pages_moved()
    else:
        changes.page_read(None)
    assert changes.take(record("a", version="2")) == "a@2"


def test_a_deletion_has_the_subject_of_the_record() -> None:
    changes = made(confirm_deletes=1)
    changes.take(record("a", subject="C-1"))
    changes.take(record("b"))
    changes.finish(complete=True)
    changes.listed(["b"])
    changes.finish(complete=False)  # an unreadable record may be the one that is missing
    assert changes.deletions(5) == []
    changes.listed(["b"])
    changes.finish(complete=True)
    assert changes.deletions(5) == [Deletion("a", "C-1", "a@2")]
    changes.page_read(None)
    assert changes.take(record("a", subject="C-1")) == "a@3"


def test_an_empty_list_is_a_problem_unless_it_is_allowed() -> None:
    for allowed in (True, False):
        changes = made(confirm_deletes=1, allow_empty=allowed)
        changes.take(record("a"))
        changes.finish(complete=True)
        changes.finish(complete=True)
        assert len(changes.deletions(5)) == allowed
        assert (changes.problem is None) is allowed


def test_there_is_a_limit() -> None:
    changes = made(limit=1)
    changes.take(record("a"))
    with pytest.raises(TrelayError, match=r"more than 1 records \(changes\.limit\)"):
        changes.take(record("b"))


def test_its_beginning_keeps_the_number_of_the_poll() -> None:
    changes = made()
    changes.take(record("a"))
    assert set(changes.checkpoint()) == {"", "records/0"}
    assert json.loads(changes.checkpoint_at("beginning")[""]) == {"mode": "snapshot", "poll": 1}
    with pytest.raises(Malformed, match="has no times to rewind to"):
        changes.checkpoint_at(datetime(2026, 1, 1, tzinfo=UTC))


def test_a_snapshot_repeats_the_positions_of_what_has_not_changed() -> None:
    changes = made()
    changes.take(record("a", version="1"))
    changes.take(record("b", version="1", subject="C-1"))
    changes.finish(complete=True)
    changes.begin_snapshot()
    opened = BySnapshot(BySnapshotOptions(kind="snapshot"), changes.checkpoint())  # a crash does not end it
    assert opened.take(record("a", version="1")) == "a@1"
    assert opened.take(record("a", version="1")) is None
    assert opened.take(record("b", version="2", subject="C-1")) == "b@2"
    opened.finish(complete=True)
    assert opened.take(record("a", version="1")) is None
    assert b'snapshot":true' not in opened.checkpoint()[""]


def test_entries_of_older_releases_have_no_number() -> None:
    entries = b'{"a":["1"],"b":["1","C-1"]}'
    changes = BySnapshot(
        BySnapshotOptions(kind="snapshot", confirm_deletes=1),
        {"": b'{"mode":"snapshot","poll":7}', "records/0": entries},
    )
    assert changes.take(record("a", version="1")) is None
    changes.finish(complete=True)
    assert changes.deletions(5) == [Deletion("b", "C-1", "b@8")]
    changes.begin_snapshot()
    assert changes.take(record("a", version="1")) == "a@0"


def test_there_is_no_cursor_that_an_api_could_forget() -> None:
    changes = made()
    assert changes.cursor is None
    assert not changes.begin_again()
