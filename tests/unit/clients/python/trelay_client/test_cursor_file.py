import errno
import fcntl
import os
import subprocess
import sys
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


def test_another_subscription_cannot_use_the_file(tmp_path: Path) -> None:
    path = tmp_path / "cursor"
    first, second = CursorFile(path), CursorFile(path)
    first.acquire()
    text = f"cursor: another subscription of process {os.getpid()} uses this file; give each subscription a file"
    for file in (second, first):
        with pytest.raises(UsageError, match=text):
            file.acquire()
    first.save("kept")
    first.release()
    first.release()
    second.acquire()
    assert second.load() == "kept"
    second.release()


def test_a_file_of_another_program_is_free_once_that_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "cursor"
    holder = [
        "from pathlib import Path",
        "from trelay_client import CursorFile",
        f"CursorFile(Path({str(path)!r})).acquire()",
        "print('held', flush=True)",
        "input()",
    ]
    with subprocess.Popen(
        [sys.executable, "-c", "\n".join(holder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"another subscription of process {process.pid} uses this file"):
            CursorFile(path).acquire()
        process.kill()
    file = CursorFile(path)
    file.acquire()
    file.release()


def test_an_unknown_holder_is_not_named(tmp_path: Path) -> None:
    with (tmp_path / ".cursor.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="cursor: another subscription uses this file"):
            CursorFile(tmp_path / "cursor").acquire()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cursor: cannot open \.cursor\.lock beside it: No such file"):
        CursorFile(tmp_path / "absent" / "cursor").acquire()


def test_nothing_is_locked_where_the_file_system_has_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    file = CursorFile(tmp_path / "cursor")
    file.acquire()
    file.release()
