from pathlib import Path

import pytest

from trelay_client import CursorFile, UsageError


def test_a_saved_cursor_is_loaded_and_no_temporary_file_is_left(tmp_path: Path) -> None:
    file = CursorFile(tmp_path / "cursor")
    assert file.load() is None
    file.save("AaZz09-_")
    file.save("second")
    assert file.load() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["cursor"]


def test_an_empty_file_has_no_cursor(tmp_path: Path) -> None:
    (tmp_path / "cursor").touch()
    assert CursorFile(tmp_path / "cursor").load() is None


@pytest.mark.parametrize("content", [b"\xff\xfe", b"two words", b"a\nb", b"x" * 16_385])
def test_a_file_with_other_content_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "cursor").write_bytes(content)
    with pytest.raises(UsageError, match="cursor: found other content; expected a cursor"):
        CursorFile(tmp_path / "cursor").load()


def test_an_unusable_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the cursor: Is a directory"):
        CursorFile(tmp_path).load()
    with pytest.raises(UsageError, match="cannot write the cursor: No such file"):
        CursorFile(tmp_path / "absent" / "cursor").save("x")
