from collections.abc import Callable
from pathlib import Path

import pytest

from shared.alerts.spool import FolderSpool, MemorySpool, Spool

Opening = Callable[[], Spool]


@pytest.fixture(params=["memory", "folder"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    if request.param == "memory":
        return lambda: MemorySpool(keep=3)
    return lambda: FolderSpool(tmp_path / "made" / "here", keep=3)


def emptied(spool: Spool) -> list[bytes]:
    found = []
    while (oldest := spool.oldest()) is not None:
        found.append(oldest[1])
        spool.drop(oldest[0])
    return found


def test_gives_the_oldest_until_it_is_dropped(opening: Opening) -> None:
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


def test_keeps_the_newest_where_there_are_too_many(opening: Opening, caplog: pytest.LogCaptureFixture) -> None:
    spool = opening()
    for number in range(5):
        spool.put(b"%d" % number)
    assert emptied(spool) == [b"2", b"3", b"4"]
    assert caplog.messages == ["too many mails wait: the oldest is dropped"] * 2


def test_keeps_a_value(opening: Opening) -> None:
    spool = opening()
    assert spool.saved() is None
    spool.save({"tokens": 1.5})
    assert spool.saved() == {"tokens": 1.5}


def test_a_folder_outlives_the_process(tmp_path: Path) -> None:
    first = FolderSpool(tmp_path, keep=3)
    first.put(b"1")
    first.save([1])
    second = FolderSpool(tmp_path, keep=3)
    second.put(b"2")
    assert second.saved() == [1]
    assert emptied(second) == [b"1", b"2"]


def test_a_folder_is_cleared_of_what_a_crash_left(tmp_path: Path) -> None:
    (tmp_path / "000000000007.eml.part").write_bytes(b"half")
    (tmp_path / "state.json").write_bytes(b"{")
    (tmp_path / "notes.eml").write_bytes(b"somebody else's")
    spool = FolderSpool(tmp_path, keep=3)
    assert spool.saved() is None
    assert spool.oldest() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.eml", "state.json"]


def test_a_mail_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = FolderSpool(tmp_path, keep=3)
    spool.put(b"1")
    (tmp_path / "000000000000.eml").unlink()
    (tmp_path / "000000000000.eml").symlink_to(tmp_path / "absent")
    spool.put(b"2")
    assert emptied(spool) == [b"2"]
    assert "cannot be read and is dropped" in caplog.text


def test_what_is_no_mail_and_cannot_be_dropped_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "000000000001.eml").mkdir()
    spool = FolderSpool(tmp_path, keep=3)
    spool.put(b"first")
    found = spool.oldest()
    assert found is not None
    assert found[1] == b"first"


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="Not a directory"):
        FolderSpool(tmp_path / "file" / "spool", keep=3)
