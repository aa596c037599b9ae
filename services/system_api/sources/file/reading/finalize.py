"""What becomes of a dropped file of which everything is published: a receipt, the archive, or its end.

Blocking, for the source's own thread. All of it can be done again: after a crash it is.
"""

import errno
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from services.system_api.sources.file.filesystem import FileError
from services.system_api.sources.file.options import After, DropOptions, Ready
from services.system_api.sources.file.reading.progress import Progress

RECEIPT = ".receipt.json"

_ARCHIVE = "archive"
_BLOCK = 1_048_576


@dataclass(frozen=True, slots=True)
class FinishedFile:
    """A file that is to be finished."""

    source: str
    file_id: str
    path: Path
    progress: Progress


def finish(file: FinishedFile, options: DropOptions, now: str) -> None:
    """Write the receipt, then archive or delete the file, then its done-file; `now` stands in the receipt.

    A file that was changed after it was read is left as it is.

    Raises:
        FileTrouble: something of that did not work; what was done need not be undone before the next try.
    """
    try:
        if _was_changed(file):
            return  # the next look takes it for the new file that it is
        target = _target(file, options)
        if options.receipt and not _write_receipt(file, target or file.path, now):
            return
        if target is not None:
            _move(file.path, target)
        elif options.after is After.DELETE and not file.progress.truncated:
            file.path.unlink()
        else:
            return
        if options.ready is Ready.DONE_FILE:
            _drop_done_file(file.path, options, target)
    except FileNotFoundError:
        return  # somebody else has taken it away, which is all the same
    except OSError as exc:
        raise FileError(f"{file.path}: all of it is published, but it cannot be put away: {exc}") from exc


def in_archive(path: Path, options: DropOptions) -> bool:
    """Whether a file lies in the archive already: a glob with `**` would find it there."""
    return path.parent.name == _ARCHIVE if options.archive is None else path.is_relative_to(options.archive)


def _was_changed(file: FinishedFile) -> bool:
    status = file.path.stat()
    return (status.st_size, status.st_mtime_ns) != file.progress.done


def _target(file: FinishedFile, options: DropOptions) -> Path | None:
    if options.after is not After.ARCHIVE:
        return None
    folder = options.archive or file.path.parent / _ARCHIVE
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / file.path.name
    # Two files of one name are two files; the id tells them apart.
    return target.with_name(f"{target.name}.{file.file_id}") if target.exists() else target


def _move(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        # Another disk: whole under its name, or not at all.
        part = target.with_name(f".{target.name}.part")
        shutil.copy2(path, part)
        with part.open("rb+") as copied:
            os.fsync(copied.fileno())
        part.replace(target)
        path.unlink()


def _drop_done_file(path: Path, options: DropOptions, target: Path | None) -> None:
    done = path.with_name(path.name + options.done_suffix)
    if target is None:
        done.unlink(missing_ok=True)
    elif done.exists():
        _move(done, target.with_name(target.name + options.done_suffix))


def _write_receipt(file: FinishedFile, target: Path, now: str) -> bool:
    """Write the receipt beside where the file will be, unless it is there; return whether the file is still as it was.

    One that is there is of this file, or of one it replaced.
    """
    receipt_path = target.with_name(target.name + RECEIPT)
    if _is_of(receipt_path, file.file_id):
        return True
    digest = hashlib.sha256()
    with file.path.open("rb") as content:
        while block := content.read(_BLOCK):
            digest.update(block)
    if _was_changed(file):
        return False  # to read all of it takes a while
    progress = file.progress
    receipt = {
        "source": file.source,
        "file": file.file_id,
        "path": str(file.path),
        "bytes": progress.offset,
        "rows": progress.rows,
        "rejects": progress.rejects,
        "sha256": digest.hexdigest(),
        "finished": now,
    }
    part = target.with_name(f".{target.name}{RECEIPT}.part")
    part.write_text(json.dumps(receipt, indent=2) + "\n")
    part.replace(receipt_path)
    return True


def _is_of(receipt: Path, file_id: str) -> bool:
    """Whether there is a receipt of this file; one that a crash of the machine left half written is none."""
    try:
        found = json.loads(receipt.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(found, dict) and found.get("file") == file_id
