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


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is synchronised and replaced, with the content at that moment."""
    seen: list[tuple[str, str]] = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        seen.append(("folder", path.name) if path.is_dir() else ("file", path.read_text()))
        fsync(descriptor)

    def recorded_replace(self: Path, target: Path) -> Path:
        seen.append(("replace", self.read_text()))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    return seen


def test_a_cursor_is_on_the_disk_before_it_replaces_the_one_before(
    tmp_path: Path, operations: list[tuple[str, str]]
) -> None:
    file = CursorFile(tmp_path / "cursor")
    file.save("first")
    file.save("second")
    first = [("file", "first\n"), ("replace", "first\n"), ("folder", tmp_path.name)]
    assert operations == [*first, ("file", "second\n"), ("replace", "second\n")]


def test_nothing_is_synchronised_if_the_program_says_so(tmp_path: Path, operations: list[tuple[str, str]]) -> None:
    CursorFile(tmp_path / "cursor", sync=False).save("first")
    assert operations == [("replace", "first\n")]


def test_a_full_disk_leaves_the_cursor_before_and_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = CursorFile(tmp_path / "cursor")
    file.save("first")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="cursor: cannot write the cursor: No space left on device"):
        file.save("second")
    assert file.load() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["cursor"]


def test_a_folder_that_cannot_be_synchronised_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def fsync_of_files(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync_of_files)
    file = CursorFile(tmp_path / "cursor")
    file.save("first")
    assert file.load() == "first"


def test_a_folder_that_fails_to_be_synchronised_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def fsync_of_files(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync_of_files)
    with pytest.raises(UsageError, match="cannot write the cursor: Input/output error"):
        CursorFile(tmp_path / "cursor").save("first")


def test_a_process_that_was_forked_meanwhile_does_not_keep_the_lock(tmp_path: Path) -> None:
    file = CursorFile(tmp_path / "cursor")
    file.acquire()
    copy = os.dup(next(number for number in _descriptors() if _path_of(number) == tmp_path / ".cursor.lock"))
    file.release()
    file.acquire()
    file.release()
    os.close(copy)


def _descriptors() -> list[int]:
    return [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]


def _path_of(descriptor: int) -> Path | None:
    try:
        return Path(f"/proc/self/fd/{descriptor}").readlink()
    except FileNotFoundError:
        return None  # that of the listing


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
