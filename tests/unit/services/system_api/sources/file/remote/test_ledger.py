"""Which of the files that listings show are to be read."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from services.system_api.sources.file.reading.progress import Count
from services.system_api.sources.file.remote.ledger import Ledger, RemoteFile, RemoteProgress, load
from services.system_api.sources.file.start import FROM_BEGINNING, Start
from shared.errors import SettingsError


def file(path: str, version: str = "1", mtime: int = 0) -> RemoteFile:
    return RemoteFile(path, 10, mtime, version)


def ledger(start: Start = FROM_BEGINNING, *, stable: float = 0, keep: float = 100) -> Ledger:
    return Ledger((Count(), {}), start, stable=stable, keep=keep)


def listing(found: Ledger, files: Sequence[RemoteFile], ready: Mapping[str, bool], now: float) -> list[str]:
    """Give a listing; return the ids of the files to be read."""
    noted = [found.note(each, ready, now) for each in files]
    found.end_listing({each.path for each in files}, now)
    return [file_id for file_id in noted if file_id is not None]


def test_new_files_are_read_until_they_are_done() -> None:
    found = ledger()
    first, second = listing(found, [file("/a"), file("/b")], {}, 0)
    assert [each.partition(".")[0] for each in (first, second)] == ["1", "2"]
    done = RemoteProgress(path="/a", version="1", size=10, done=True)
    saved = found.update(first, done)
    assert listing(found, [file("/a"), file("/b")], {}, 1) == [second]
    checkpoint = found.take_checkpoint()
    assert checkpoint[first] == saved
    assert found.take_checkpoint() == {}
    reopened = Ledger(load({key: part for key, part in checkpoint.items() if part}), FROM_BEGINNING, stable=0, keep=9)
    assert reopened.files == found.files
    assert listing(reopened, [file("/a"), file("/b")], {}, 0) == [second]


def test_a_file_with_another_version_is_a_new_file() -> None:
    found = ledger()
    (first,) = listing(found, [file("/a")], {}, 0)
    (second,) = listing(found, [file("/a", "2")], {}, 1)
    assert first != second
    assert [(before.version, now.version) for before, now in found.changed] == [("1", "2")]
    assert found.take_checkpoint()[first] is None


def test_a_file_must_not_change_for_a_while() -> None:
    found = ledger(stable=5)
    assert listing(found, [file("/a")], {}, 0) == []
    assert listing(found, [file("/a", "2")], {}, 4) == []
    assert listing(found, [file("/a", "2")], {}, 8) == []
    assert list(found.unstable) == ["/a"]
    assert len(listing(found, [file("/a", "2")], {}, 9)) == 1
    listing(found, [file("/b")], {}, 9)
    listing(found, [], {}, 9)
    assert found.unstable == {}


def test_when_the_next_file_may_be_complete() -> None:
    found = ledger(stable=5)
    assert found.next_complete(0) is None
    listing(found, [file("/a")], {}, 0)
    listing(found, [file("/a"), file("/b")], {}, 2)
    assert found.next_complete(2) == 5
    assert found.next_complete(5) == 7
    listing(found, [file("/a"), file("/b")], {"/a": False}, 6)
    assert found.next_complete(6) == 7
    assert found.next_complete(7) is None, "something else has to mark it"


def test_a_file_that_is_not_marked_is_not_complete() -> None:
    found = ledger()
    assert listing(found, [file("/a")], {"/a": False}, 0) == []
    assert len(listing(found, [file("/a")], {"/a": True}, 0)) == 1


def test_a_missing_file_is_forgotten_after_a_while() -> None:
    found = ledger(keep=100)
    (first,) = listing(found, [file("/a")], {}, 0)
    listing(found, [], {}, 1)
    assert found.missing == {first: 1}
    assert listing(found, [file("/a")], {}, 50) == [first]
    assert found.missing == {}
    listing(found, [], {}, 60)
    listing(found, [], {}, 161)
    assert (found.files, found.missing) == ({}, {})


def test_the_first_listing_decides_where_to_start() -> None:
    found = ledger(Start(datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC), first=True))
    listed = [file("/old", mtime=4 * 10**9), file("/new", mtime=5 * 10**9), file("/open", mtime=0)]
    (read,) = listing(found, listed, {"/open": False}, 0)
    assert {each.path: each.passed_over for each in found.files.values()} == {"/old": True, "/new": False}
    assert found.files[read].path == "/new"
    assert len(listing(found, [*listed, file("/later", mtime=0)], {}, 1)) == 3


@pytest.mark.parametrize("value", [b"{}", b"no JSON", b'{"path":"a","version":"1","size":1,"ino":2}'])
def test_another_checkpoint_is_refused(value: bytes) -> None:
    with pytest.raises(SettingsError, match="set its previous path again"):
        load({"1.ab": value})
