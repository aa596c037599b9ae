from pathlib import Path

import pytest

from trelay_client import CursorFile, UsageError


def test_what_is_saved_is_loaded_and_nothing_is_left_beside(tmp_path: Path) -> None:
    file = CursorFile(tmp_path / "cursor")
    assert file.load() is None
    file.save("AaZz09-_")
    file.save("second")
    assert file.load() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["cursor"]


def test_an_empty_file_is_no_cursor(tmp_path: Path) -> None:
    (tmp_path / "cursor").touch()
    assert CursorFile(tmp_path / "cursor").load() is None


@pytest.mark.parametrize("content", [b"\xff\xfe", b"two words", b"a\nb", b"x" * 16_385])
def test_a_file_that_holds_something_else_is_not_taken_for_a_cursor(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "cursor").write_bytes(content)
    with pytest.raises(UsageError, match="cursor: this is no file with a cursor"):
        CursorFile(tmp_path / "cursor").load()


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        CursorFile(tmp_path).load()
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        CursorFile(tmp_path / "absent" / "cursor").save("x")
