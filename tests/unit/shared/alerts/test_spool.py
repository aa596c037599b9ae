"""Unsent mails, in memory and in a folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.alerts.spool import FolderSpool, MemorySpool, RescuedSpool, Spool

Opening = Callable[[], Spool]


@pytest.fixture(params=["memory", "folder"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    if request.param == "memory":
        return lambda: MemorySpool(limit=3)
    return lambda: FolderSpool(tmp_path / "made" / "here", limit=3)


def emptied(spool: Spool) -> list[bytes]:
    mails = []
    while (oldest := spool.oldest()) is not None:
        mails.append(oldest[1])
        spool.drop(oldest[0])
    return mails


def test_the_oldest_mail_is_returned_until_it_is_dropped(opening: Opening) -> None:
    spool = opening()
    assert spool.oldest() is None
    spool.put(b"1")
    spool.put(b"2")
    first = spool.oldest()
    assert first is not None
    assert first[1] == b"1"
    assert spool.oldest() == first
    spool.drop(first[0])
    spool.drop(first[0])
    assert len(spool) == 1
    assert emptied(spool) == [b"2"]


def test_the_newest_mails_are_kept_where_there_are_too_many(opening: Opening, caplog: pytest.LogCaptureFixture) -> None:
    spool = opening()
    for number in range(5):
        spool.put(b"%d" % number)
    assert emptied(spool) == [b"2", b"3", b"4"]
    assert caplog.messages == ["too many unsent mails, dropping the oldest"] * 2


def test_a_value_is_saved(opening: Opening) -> None:
    spool = opening()
    assert spool.saved() is None
    spool.save({"tokens": 1.5})
    assert spool.saved() == {"tokens": 1.5}


def test_a_folder_survives_the_process(tmp_path: Path) -> None:
    first = FolderSpool(tmp_path, limit=3)
    first.put(b"1")
    first.save([1])
    second = FolderSpool(tmp_path, limit=3)
    second.put(b"2")
    assert second.saved() == [1]
    assert emptied(second) == [b"1", b"2"]


def test_unfinished_files_of_a_crash_are_removed(tmp_path: Path) -> None:
    (tmp_path / "000000000007.eml.part").write_bytes(b"half")
    (tmp_path / "state.json").write_bytes(b"{")
    (tmp_path / "notes.eml").write_bytes(b"of another program")
    spool = FolderSpool(tmp_path, limit=3)
    assert spool.saved() is None
    assert spool.oldest() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.eml", "state.json"]


def test_a_mail_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = FolderSpool(tmp_path, limit=3)
    spool.put(b"1")
    (tmp_path / "000000000000.eml").unlink()
    (tmp_path / "000000000000.eml").symlink_to(tmp_path / "absent")
    spool.put(b"2")
    assert emptied(spool) == [b"2"]
    (line,) = caplog.records
    assert line.message == "cannot read unsent mail, dropping it"
    assert line.__dict__["path"] == str(tmp_path / "000000000000.eml")


def test_an_entry_that_is_not_a_mail_and_cannot_be_removed_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "000000000001.eml").mkdir()
    spool = FolderSpool(tmp_path, limit=3)
    spool.put(b"first")
    found = spool.oldest()
    assert found is not None
    assert found[1] == b"first"


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="Not a directory"):
        FolderSpool(tmp_path / "file" / "spool", limit=3)


def test_a_folder_that_fails_is_emptied_from_memory(tmp_path: Path) -> None:
    folder = FolderSpool(tmp_path, limit=3)
    folder.put(b"1")
    folder.put(b"2")
    rescued = RescuedSpool(folder, limit=3)
    rescued.put(b"3")
    assert len(list(tmp_path.glob("*.eml"))) == 2
    shutil.move(tmp_path / "000000000000.eml", tmp_path / "moved")
    (tmp_path / "000000000000.eml").mkdir()  # cannot be removed as a file
    assert emptied(RescuedSpool(rescued, limit=3)) == [b"1", b"2", b"3"]
    assert [path.name for path in tmp_path.glob("*.eml")] == ["000000000000.eml"]
