"""Finalizing a file is idempotent."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.system_api.sources.file.dropping import finalize as finalize_module
from services.system_api.sources.file.dropping.finalize import FinishedFile, finalize, is_own_output
from services.system_api.sources.file.filesystem import FileError
from services.system_api.sources.file.folders.globbing import Glob
from services.system_api.sources.file.options import DropOptions
from services.system_api.sources.file.reading.progress import Progress

NOW = "2026-01-02T03:04:05.000Z"


def finished(path: Path, **known: Any) -> FinishedFile:
    status = path.stat()
    done = (status.st_size, status.st_mtime_ns)
    progress = Progress(
        path=str(path), dev=1, ino=1, offset=status.st_size, line=1, fingerprint="", sample=0, done=done
    )
    return FinishedFile("files", "1.ab", path, progress if not known else _with(progress, **known))


def _with(progress: Progress, **known: Any) -> Progress:
    return Progress(**{name: getattr(progress, name) for name in progress.__struct_fields__} | known)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    path.write_text("id\n1\n")
    return path


@pytest.mark.parametrize("after", ["archive", "delete"])
def test_the_second_call_has_nothing_left_to_do(path: Path, after: str) -> None:
    options = DropOptions.model_validate({"after": after, "receipt": True})
    file = finished(path)
    finalize(file, options, NOW)
    finalize(file, options, NOW)
    assert not path.exists()


def test_a_file_that_has_changed_since_it_was_read_is_left_alone(path: Path) -> None:
    file = finished(path)
    path.write_text("id\n1\n2\n")
    finalize(file, DropOptions.model_validate({"after": "delete", "receipt": True}), NOW)
    assert [found.name for found in path.parent.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("after", ["archive", "delete", "keep"])
def test_a_file_that_changes_while_it_is_hashed_is_left_alone(
    path: Path, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sha256() -> object:
        with path.open("a") as file:
            file.write("2\n")
        return hashlib.sha256()

    monkeypatch.setattr(finalize_module, "hashlib", SimpleNamespace(sha256=sha256))
    finalize(finished(path), DropOptions.model_validate({"after": after, "receipt": True}), NOW)
    assert [found.name for found in path.parent.rglob("*.*")] == ["a.csv"]


@pytest.mark.parametrize("left", ["", "[]", "{"])
def test_a_partial_receipt_is_replaced(path: Path, left: str) -> None:
    receipt = path.with_name("a.csv.receipt.json")
    receipt.write_text(left)
    finalize(finished(path), DropOptions(receipt=True), NOW)
    assert json.loads(receipt.read_text())["finished"] == NOW


def test_a_receipt_is_written_once(path: Path) -> None:
    options = DropOptions(receipt=True)
    finalize(finished(path), options, NOW)
    receipt = path.with_name("a.csv.receipt.json")
    first = receipt.stat().st_mtime_ns
    finalize(finished(path), options, "2027-01-01T00:00:00.000Z")
    assert receipt.stat().st_mtime_ns == first
    assert NOW in receipt.read_text()


def test_an_archived_file_of_the_same_name_is_kept(path: Path) -> None:
    options = DropOptions.model_validate({"after": "archive"})
    (path.parent / "archive").mkdir()
    (path.parent / "archive" / "a.csv").write_text("older")
    finalize(finished(path), options, NOW)
    assert sorted(found.name for found in (path.parent / "archive").iterdir()) == ["a.csv", "a.csv.1.ab"]
    assert (path.parent / "archive" / "a.csv").read_text() == "older"


def test_a_file_with_a_truncated_line_is_not_deleted(path: Path) -> None:
    finalize(finished(path, truncated=True), DropOptions.model_validate({"after": "delete"}), NOW)
    assert path.exists()


def test_an_error_names_the_file(path: Path) -> None:
    (path.parent / "archive").write_text("no folder")
    with pytest.raises(FileError, match=r"a\.csv: all of it is published, but cannot archive it"):
        finalize(finished(path), DropOptions.model_validate({"after": "archive"}), NOW)


@pytest.mark.parametrize(
    ("pattern", "archive", "path", "own"),
    [
        ("/in/*.csv", None, "/in/a.csv", False),
        ("/in/*", None, "/in/a.csv.receipt.json", True),
        ("/in/**/*.csv", None, "/in/archive/a.csv", True),
        ("/in/**/*.csv", None, "/in/b/archive/a.csv", True),
        ("/in/**/*.csv", None, "/in/b/archives/a.csv", False),
        ("/archive/*.csv", None, "/archive/a.csv", False),
        ("/archive/**/*.csv", None, "/archive/a.csv", False),
        ("/archive/**/*.csv", None, "/archive/archive/a.csv", True),
        ("/in/*/a.csv", None, "/in/archive/a.csv", False),
        ("/data/in/**", "/data/in/done", "/data/in/done/a.csv", True),
        ("/data/in/**", "/data", "/data/in/a.csv", False),
        ("/data/in/**", "/data/in/done", "/data/in/archive/a.csv", False),
    ],
)
def test_what_the_source_wrote_itself_is_not_read(pattern: str, archive: str | None, path: str, own: bool) -> None:
    options = DropOptions.model_validate({"after": "archive", "archive": archive})
    assert is_own_output(path, Glob(pattern), options) is own
    assert is_own_output(path, Glob(pattern), DropOptions()) is path.endswith("receipt.json")


@pytest.mark.parametrize("after", ["archive", "delete"])
def test_a_file_that_takes_the_place_of_the_one_that_was_read_is_put_back(
    path: Path, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, rename = finished(path), Path.rename

    def replace(moved: Path, target: Path) -> Path:
        if moved == path:
            (path.parent / "new").write_text("id\n1\n2\n")
            rename(path.parent / "new", path)
        return rename(moved, target)

    monkeypatch.setattr(Path, "rename", replace)
    assert finalize(file, DropOptions.model_validate({"after": after}), NOW) is None
    assert path.read_text() == "id\n1\n2\n"
    assert [found for found in path.parent.rglob("*") if found.is_file()] == [path]


def test_a_file_that_cannot_be_put_back_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, rename = finished(path), Path.rename

    def replace(moved: Path, target: Path) -> Path:
        path.write_text("id\n1\n2\n")
        moved = rename(moved, target)
        path.write_text("id\n3\n")
        return moved

    monkeypatch.setattr(Path, "rename", replace)
    with pytest.raises(FileError, match=r"changed while it was finalized, and replaced since; it is .*/archive/a\.csv"):
        finalize(file, DropOptions.model_validate({"after": "archive"}), NOW)
    assert path.read_text() == "id\n3\n"
    assert (path.parent / "archive" / "a.csv").read_text() == "id\n1\n2\n"


def test_a_file_that_is_open_for_writing_again_is_not_finalized(path: Path) -> None:
    status = path.stat()
    file = finished(path, dev=status.st_dev, ino=status.st_ino)
    options = DropOptions.model_validate({"after": "archive"})
    with path.open("a"), pytest.raises(FileError, match="cannot archive it: it is open for writing again"):
        finalize(file, options, NOW)
    assert finalize(file, options, NOW) == path.parent / "archive" / "a.csv"


def test_the_done_file_goes_with_its_file(path: Path) -> None:
    path.with_name("a.csv.done").touch()
    finalize(finished(path), DropOptions.model_validate({"after": "archive", "ready": "done-file"}), NOW)
    assert sorted(found.name for found in (path.parent / "archive").iterdir()) == ["a.csv", "a.csv.done"]
