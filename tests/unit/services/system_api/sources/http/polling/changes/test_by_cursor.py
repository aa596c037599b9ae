"""A log that is followed by a cursor."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from services.system_api.sources.http.polling.changes import by_cursor
from services.system_api.sources.http.polling.changes.by_cursor import ByCursor
from services.system_api.sources.http.polling.options import ByCursorOptions
from shared.errors import Malformed, TrelayError
from tests.unit.services.system_api.sources.http.polling.changes.making import record

Saved = dict[str, bytes]


def made(saved: Saved | None = None, **options: Any) -> ByCursor:
    given = {"kind": "cursor", "cursor": "next", "parameter": "after"} | options
    return ByCursor(ByCursorOptions.model_validate(given), saved or {})


def save(changes: ByCursor, saved: Saved) -> None:
    for part, value in changes.saved().items():
        if value is None:
            saved.pop(part, None)
        else:
            saved[part] = value


def read(changes: ByCursor, ids: str, cursor: str | None) -> list[str | None]:
    """Read one page of changes of one entity, which is the only page of a poll."""
    changes.begin_page([])
    found = [changes.take(record(each, subject="entity")) for each in ids]
    changes.listed([])
    changes.page_read(cursor)
    changes.finish(complete=True)
    return found


def test_no_time_decides_where_it_starts() -> None:
    assert not made().note_time(5.0)


def test_the_cursor_moves_with_the_pages_and_recent_ids_are_not_repeated() -> None:
    saved: Saved = {}
    changes = made()
    assert changes.query() == {}
    assert read(changes, "abc", "c") == ["a", "b", "c"]
    assert changes.more
    assert changes.query() == {"after": "c"}
    save(changes, saved)
    again = made(saved)
    assert again.query() == {"after": "c"}
    assert read(again, "cd", "d") == [None, "d"]
    assert read(again, "d", None) == [None]  # a page without a cursor does not move it
    assert again.query() == {"after": "d"}
    assert not again.more
    assert again.problem is None
    assert again.deletions(5) == []
    assert set(again.checkpoint()) == {"", "records/0"}


def test_a_known_id_with_another_version_is_another_change() -> None:
    """With delta links, an id is that of the entity: its second change was dropped."""
    saved: Saved = {}
    changes = made()
    versions = ["1", "1", "2", "2", "1"]
    found = [changes.take(record("a", version=f"v{each}")) for each in versions]
    assert found == ["a@v1", None, "a@1", None, "a@2"]
    changes.page_read("1")
    changes.finish(complete=True)
    save(changes, saved)
    again = made(saved)
    found = [again.take(record("a", version=each)) for each in ("v1", "v3")]
    assert found == [None, "a@3"]
    assert again.take(record("b")) == "b@v"


def test_ids_of_an_older_release_have_no_version() -> None:
    saved: Saved = {"": b'{"mode":"cursor","cursor":"c","count":1}', "records/0": b'{"a":[0]}'}
    changes = made(saved)
    assert changes.take(record("a", version="9")) is None


def test_an_id_that_changed_again_is_remembered_by_its_last_change() -> None:
    changes = made(window=2)
    for identity, version in (("a", "1"), ("b", "1"), ("a", "2"), ("c", "1")):
        changes.take(record(identity, version=version))
    changes.page_read("1")
    changes.finish(complete=True)
    assert set(json.loads(changes.checkpoint()["records/0"])) == {"a", "c"}


def test_only_the_newest_ids_are_remembered() -> None:
    saved: Saved = {}
    changes = made(window=2)
    read(changes, "abcd", "1")
    save(changes, saved)
    assert set(json.loads(saved["records/0"])) == {"c", "d"}
    again = made(saved, window=2)
    assert read(again, "acd", "2") == ["a", None, None]
    save(again, saved)
    assert set(json.loads(saved["records/0"])) == {"a", "d"}


def test_the_cursor_counts_when_all_pages_are_read() -> None:
    changes = made()
    changes.take(record("a"))
    changes.page_read("1")
    assert changes.query() == {}
    changes.pages_moved()
    changes.page_read(None)
    changes.finish(complete=True)
    assert changes.query() == {"after": "1"}


def test_a_cursor_may_be_a_url_and_have_a_beginning() -> None:
    changes = made(parameter=None, start="/delta?token=1")
    assert (changes.url, changes.query()) == ("/delta?token=1", {})
    assert made(start="1").url is None


def test_new_records_without_a_cursor_are_an_error() -> None:
    with pytest.raises(TrelayError, match=r"changes\.cursor: the expression gives nothing on a page with new records"):
        read(made(), "a", None)


def test_there_is_a_limit_of_ids_before_the_cursor_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_cursor, "_LIMIT", 2)
    with pytest.raises(TrelayError, match="more than 2 records before the cursor moves"):
        read(made(), "abc", "1")


def test_it_can_be_rewound_to_its_beginning_alone() -> None:
    changes = made(start="9")
    assert json.loads(changes.checkpoint_at("beginning")[""]) == {"mode": "cursor", "cursor": None, "count": 0}
    with pytest.raises(Malformed, match="has no times to rewind to"):
        changes.checkpoint_at(datetime(2026, 1, 1, tzinfo=UTC))


def test_changes_are_no_list_to_publish_again() -> None:
    with pytest.raises(Malformed, match="rewind to the beginning to publish all changes again"):
        made().begin_snapshot()


def test_where_the_settings_want_it_a_source_begins_again_and_repeats_nothing_that_it_remembers() -> None:
    saved: Saved = {}
    assert not made().begin_again()
    changes = made(start="0", on_expired="restart")
    assert not changes.begin_again(), "the API refuses what the settings say"
    assert read(changes, "ab", "b") == ["a", "b"]
    assert changes.cursor == "b"
    assert changes.begin_again()
    save(changes, saved)
    again = made(saved, start="0", on_expired="restart")
    assert again.query() == {"after": "0"}
    assert read(again, "abc", "c") == [None, None, "c"]


def test_a_change_of_an_entity_that_was_forgotten_has_an_id_of_its_own() -> None:
    """It had that of the entity's first change, and clients that ignore repeated ids lost it."""
    changes = made(window=1)
    positions = []
    for identity, version in (("a", "1"), ("b", "1"), ("a", "2"), ("b", "2"), ("a", "1")):
        positions.append(changes.take(record(identity, version=f"v{version}")))
        changes.page_read(version + identity)
        changes.finish(complete=True)
    assert positions == ["a@v1", "b@v1", "a@v2", "b@v2", "a@v1"]


def test_the_id_of_a_change_alone_identifies_it() -> None:
    changes = made()
    assert changes.take(record("e1", version="1", subject="a")) == "e1"
    assert changes.take(record("e1", version="2", subject="a")) == "e1@1"


def test_numbers_go_on_after_a_rewind() -> None:
    changes = made()
    for version in "12":
        changes.take(record("a", version=f"v{version}"))
    again = made(changes.checkpoint_at("beginning"))
    assert [again.take(record("a", version=f"v{version}")) for version in "13"] == ["a@v1", "a@3"]
