"""Checkpoints in files, through crashes at any place."""

import json
import os
import random
from pathlib import Path

import pytest

from services.system_api.delivery import checkpoint_files
from services.system_api.delivery.checkpoint_files import CheckpointFiles


def changed(rng: random.Random) -> dict[str, str | None]:
    return {f"s/{rng.randrange(8)}": rng.choice([None, "x" * rng.randrange(30)]) for _ in range(rng.randint(1, 3))}


def applied(parts: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    merged = parts | {key: value for key, value in changes.items() if value is not None}
    return {key: value for key, value in merged.items() if changes.get(key, "") is not None}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is soon too large."""
    monkeypatch.setattr(checkpoint_files, "SMALLEST_LOG", 100)


@pytest.mark.usefixtures("small")
def test_what_is_written_is_there_after_a_restart(tmp_path: Path) -> None:
    rng, files = random.Random(1), CheckpointFiles(tmp_path)
    expected: dict[str, str] = {}
    for _ in range(300):
        changes = changed(rng)
        files.write("s", changes)
        expected = applied(expected, changes)
        assert files.parts("s") == expected
        if rng.random() < 0.3:
            files = CheckpointFiles(tmp_path)
            assert files.parts("s") == expected
    assert files.parts("other") == {}


@pytest.mark.usefixtures("small")
def test_a_crash_at_any_byte_leaves_the_state_before_or_after(tmp_path: Path, seed: int) -> None:
    rng, expected = random.Random(seed), dict[str, str]()
    for _ in range(200):
        files = CheckpointFiles(tmp_path)
        assert files.parts("s") == expected
        changes = changed(rng)
        files.write("s", changes)
        log = tmp_path / "s.log"
        line = json.dumps(changes).encode() + b"\n"
        if log.stat().st_size and rng.random() < 0.5:
            os.truncate(log, log.stat().st_size - rng.randint(1, len(line)))  # the end of the line never came
        else:
            expected = applied(expected, changes)


@pytest.mark.usefixtures("small")
def test_a_crash_between_the_parts_and_the_log_changes_nothing(tmp_path: Path) -> None:
    """The log still has what the parts have: it is applied again."""
    rng, files, expected = random.Random(2), CheckpointFiles(tmp_path), dict[str, str]()
    for _ in range(200):
        before = (tmp_path / "s.log").read_bytes() if (tmp_path / "s.log").exists() else b""
        changes = changed(rng)
        files.write("s", changes)
        expected = applied(expected, changes)
        if not (tmp_path / "s.log").stat().st_size:
            (tmp_path / "s.log").write_bytes(before + json.dumps(changes).encode() + b"\n")
            files = CheckpointFiles(tmp_path)
            assert files.parts("s") == expected


def test_the_files_of_an_older_release_are_read(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"s": "1", "s/a": "2"}')
    files = CheckpointFiles(tmp_path)
    files.write("s", {"s": "3"})
    assert CheckpointFiles(tmp_path).parts("s") == {"s": "3", "s/a": "2"}


def test_a_transaction_costs_what_it_changes(tmp_path: Path) -> None:
    """However many parts there are, as of a source that knows many files."""
    files = CheckpointFiles(tmp_path)
    files.write("s", {f"s/{number}": "x" * 100 for number in range(20_000)})
    whole = (tmp_path / "s.json").stat()
    for number in range(50):
        files.write("s", {"s": str(number)})
    now = (tmp_path / "s.json").stat()
    assert (now.st_ino, now.st_mtime_ns) == (whole.st_ino, whole.st_mtime_ns), "it is not written again"
    assert (tmp_path / "s.log").stat().st_size < 50 * 20


def test_a_write_that_fails_leaves_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = CheckpointFiles(tmp_path)
    files.write("s", {"s": "1"})

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            files.write("s", {"s": "2"})
    assert files.parts("s") == {"s": "1"}
    files.write("s", {"s/a": "3"})
    assert CheckpointFiles(tmp_path).parts("s") == files.parts("s") == {"s": "1", "s/a": "3"}


def test_a_folder_that_is_gone_is_no_source_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        CheckpointFiles(tmp_path / "gone").parts("s")


def test_parts_that_cannot_be_rewritten_are_kept_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_files, "SMALLEST_LOG", 10)

    def full(_path: Path, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    files = CheckpointFiles(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_files, "replace", full)
        for number in range(20):
            files.write("s", {"s": str(number)})
    assert CheckpointFiles(tmp_path).parts("s") == {"s": "19"}
    files.write("s", {"s": "20"})
    assert not (tmp_path / "s.log").stat().st_size
    assert CheckpointFiles(tmp_path).parts("s") == {"s": "20"}
