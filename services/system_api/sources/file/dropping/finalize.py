"""Finalizes a dropped file that is completely published: writes a receipt, then archives or deletes the file.

Blocking calls, for an I/O thread. Every step is idempotent: after a crash they are repeated.
"""

import errno
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from services.system_api.sources.file.dropping.readiness import is_written
from services.system_api.sources.file.filesystem import FileError, FileStat
from services.system_api.sources.file.folders.globbing import Glob
from services.system_api.sources.file.options import After, DropOptions, Ready
from services.system_api.sources.file.reading.progress import Progress

RECEIPT = ".receipt.json"

ARCHIVE = "archive"
"""The name of the folder for archived files, in the folder of each."""
_BLOCK = 1_048_576


@dataclass(frozen=True, slots=True)
class FinishedFile:
    """A file that is completely published."""

    source: str
    file_id: str
    path: Path
    progress: Progress


def finalize(file: FinishedFile, options: DropOptions, now: str) -> Path | None:
    """Write the receipt, then archive or delete the file, then its done-file; `now` is a time for the receipt.

    Returns where the file is in the archive. A file that has changed since it was read is left alone.

    Raises:
        FileError: one of the steps failed; call again to repeat them.
    """
    try:
        if _was_changed(file.path, file):
            return None  # the next look finds it as a new file
        target = _target(file, options)
        if options.receipt and not _write_receipt(file, target or file.path, now):
            return None
        if target is None and (options.after is not After.DELETE or file.progress.truncated):
            return None
        _check_writers(file, options)
        if target is not None:
            _move(file, target)
        else:
            _delete(file)
        if options.ready is Ready.DONE_FILE:
            _finalize_done_file(file.path, options, target)
    except FileNotFoundError:
        if not file.path.parent.is_dir():
            raise FileError(f"{file.path}: all of it is published, but its folder is missing") from None
        return None  # someone else has removed it: nothing is left to do
    except OSError as exc:
        raise FileError(f"{file.path}: all of it is published, but cannot {_action(options)} it: {exc}") from exc
    return target


def _check_writers(file: FinishedFile, options: DropOptions) -> None:
    known = file.progress
    found = FileStat(str(file.path), *known.inode, 0, 0)
    if options.ready is Ready.STABLE and is_written(found):
        raise FileError(
            f"{file.path}: all of it is published, but cannot {_action(options)} it: it is open for writing again"
        )


def _action(options: DropOptions) -> str:
    return options.after if options.after is not After.KEEP else "write the receipt of"


def is_own_output(path: str, glob: Glob, options: DropOptions) -> bool:
    """Whether a file that the glob finds is a receipt, or in the archive already."""
    if path.endswith(RECEIPT):
        return True
    return options.after is After.ARCHIVE and _in_archive(Path(path), glob, options)


def _in_archive(path: Path, glob: Glob, options: DropOptions) -> bool:
    folder = path.parent
    if options.archive is not None:
        return folder == options.archive
    # A folder of that name is an archive only if the source reads the folder above it.
    return folder.name == ARCHIVE and glob.matches(str(folder.parent / path.name))


def _was_changed(path: Path, file: FinishedFile) -> bool:
    status = path.stat()
    return (status.st_size, status.st_mtime_ns) != file.progress.done


def _target(file: FinishedFile, options: DropOptions) -> Path | None:
    if options.after is not After.ARCHIVE:
        return None
    folder = options.archive or file.path.parent / ARCHIVE
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / file.path.name
    # The id distinguishes two files of the same name.
    return target.with_name(f"{target.name}.{file.file_id}") if target.exists() else target


def _move(file: FinishedFile, target: Path) -> None:
    try:
        _rename(file, target)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        # Another file system: copy under a temporary name, so that the target appears complete.
        part = target.with_name(f".{target.name}.part")
        shutil.copy2(file.path, part)
        with part.open("rb+") as copied:
            os.fsync(copied.fileno())
        part.replace(target)
        _delete(file)


def _delete(file: FinishedFile) -> None:
    hidden = file.path.with_name(f".{file.path.name}.{file.file_id}.deleted")
    _rename(file, hidden)
    hidden.unlink()


def _rename(file: FinishedFile, target: Path) -> None:
    """Rename the file that was read; a file that has taken its place, or has changed, is put back."""
    file.path.rename(target)
    if not _was_changed(target, file):
        return
    try:
        os.link(target, file.path)  # unlike a rename, it replaces nothing
    except FileExistsError as exc:
        raise FileError(f"{file.path}: changed while it was finalized, and replaced since; it is {target} now") from exc
    target.unlink()
    raise FileNotFoundError(errno.ENOENT, "the file that was read is no longer there", str(file.path))


def _finalize_done_file(path: Path, options: DropOptions, target: Path | None) -> None:
    done = path.with_name(path.name + options.done_suffix)
    if target is None:
        done.unlink(missing_ok=True)
    elif done.exists():
        shutil.move(done, target.with_name(target.name + options.done_suffix))


def _write_receipt(file: FinishedFile, target: Path, now: str) -> bool:
    """Write the receipt next to the target, unless it exists; return whether the file is unchanged.

    A receipt that exists may be that of an earlier file of the same name, which is replaced.
    """
    receipt_path = target.with_name(target.name + RECEIPT)
    if _is_of(receipt_path, file.file_id):
        return True
    digest = hashlib.sha256()
    with file.path.open("rb") as content:
        while block := content.read(_BLOCK):
            digest.update(block)
    if _was_changed(file.path, file):
        return False  # it changed while its hash was computed
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
    """Whether there is a complete receipt of this file: a crash of the machine may have left a partial one."""
    try:
        found = json.loads(receipt.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(found, dict) and found.get("file") == file_id
