"""The position in one file as it is saved: one part of the source's checkpoint a file. No I/O."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from services.system_api.sources.file.filesystem import FileStat
from shared.errors import SettingsError

AnyProgress = TypeVar("AnyProgress")

SAMPLE = 512
"""Bytes of a file's head, and of the last line that was read, that are part of its fingerprint."""
HEAD = 65_536
"""Bytes within which the header of a CSV file must end, so that reading can resume in the middle of the file."""


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A position in a file, and what identifies the file."""

    path: str
    """Where it was last seen."""
    real: str = ""
    """Where a link led when the file was opened; empty if `path` is no link."""
    dev: int
    ino: int
    offset: int
    """Everything before this byte is published or in the dead letter topic."""
    line: int
    fingerprint: str
    """Hash of its head and of the last line before `offset`; see `fingerprint_of`."""
    sample: int
    """Bytes of the last line that are part of the fingerprint; they end before the newline at `offset - 1`."""
    mtime: int = 0
    """The file's modification time (ns) when it was read last; 0 if unknown."""
    ended: bool = False
    """Whether it has left, and all that could be read of it was read."""
    complete: bool = False
    """Whether it was read to its end, and nothing more is expected in it: see `tailing.completion`."""
    rows: int = 0
    rejects: int = 0
    truncated: bool = False
    """Whether some of its bytes are in no event and in no dead letter, because a line was too large."""
    carriage_returns: bool = False
    """Whether its lines end in carriage returns alone."""
    delimiter: str = ""
    """Of CSV, the delimiter that was found in the first row."""
    part: int = 0
    """Of a document: the number of the part that is read, such as a file in an archive."""
    position: int = 0
    """Of a document: the number of the next record in the part, or the offset in its content."""
    size: int = 0
    """Of a document: the size at which its fingerprint was taken."""
    begin: int = 0
    """Lines that end before this byte are not published: they were there when the source was started first."""
    begun: tuple[int, str] | None = None
    """Of a file of lines of which nothing is saved yet: the length and a hash of the lines that it began with."""
    done: tuple[int, int] | None = None
    """Size and modification time (ns) of a dropped file that is completely published."""
    passed_over: bool = False
    """Whether a file that is done was there when the source was started first: it was not read, and stays."""

    @property
    def inode(self) -> tuple[int, int]:
        """Device and inode when the file was last seen."""
        return self.dev, self.ino

    @property
    def head(self) -> int:
        """Bytes of the file's head that are part of the fingerprint."""
        return min(SAMPLE, self.offset)


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is saved for the source itself."""

    files: int = 0
    """How many files it has begun to read: the next file gets the next number."""
    since: int | None = None
    """Of the files that `rotated` matches, unknown ones are read if they are newer than this (ns)."""
    started: bool = False
    """Whether the first look has decided where the source starts."""


def passed_over(file: FileStat, fingerprint: str, *, whole: bool) -> Progress:
    """Return the progress of a file of which nothing is read that is there; `whole` files are not read at all.

    `fingerprint` is that of a file of which nothing was read.
    """
    return Progress(
        path=file.path,
        dev=file.dev,
        ino=file.ino,
        offset=0,
        line=0,
        fingerprint=fingerprint,
        sample=0,
        begin=0 if whole else file.size,
        done=(file.size, file.mtime) if whole else None,
        passed_over=whole,
    )


def fingerprint_of(head: bytes, last: bytes) -> str:
    """Return a hash that distinguishes a file read up to some offset from files with other contents."""
    return hashlib.blake2b(b"%d:%b%b" % (len(head), head, last), digest_size=8).hexdigest()


def known_spans(left: Progress) -> list[tuple[int, int]]:
    """Return the spans (offset and size) by which `is_known` tells whether a file is the one that was read."""
    sampled, before = left.offset - 1 - left.sample, max(0, left.offset - SAMPLE)
    head = HEAD if left.offset else left.begun[0] if left.begun is not None else 0
    return [(0, head), (max(0, sampled), left.sample), (before, left.offset - before)]


def is_known(left: Progress, size: int, parts: Sequence[bytes]) -> bool:
    """Whether a file of this size has the contents that were read; `parts` are the bytes of its `known_spans`."""
    head, last, tail = parts
    return (
        size >= left.begin
        and len(tail) >= min(SAMPLE, left.offset)
        and fingerprint_of(head[: left.head], as_split(left, last)) == left.fingerprint
        and (left.begun is None or _fingerprint_of_lines(head[: left.begun[0]]) == left.begun)
    )


def begun_with(head: bytes) -> tuple[int, str] | None:
    """Return what identifies a file of which nothing was read, by its beginning; None if no line of it is complete."""
    length = SAMPLE if len(head) >= SAMPLE else head.rfind(b"\n") + 1
    return _fingerprint_of_lines(head[:length]) if length else None


def _fingerprint_of_lines(lines: bytes) -> tuple[int, str]:
    return len(lines), fingerprint_of(lines, b"")


def as_split(left: Progress, data: bytes) -> bytes:
    """Return bytes of a file as its splitter returns them."""
    return data.replace(b"\r", b"\n") if left.carriage_returns else data


def new_file_id(number: int, inode: tuple[int, int], head: bytes, *more: int) -> str:
    """Return the name of a file in event ids: its number, unique within the source, and a hash.

    The hash keeps ids unique when checkpoints were lost and the numbers start again at 1.
    """
    known = repr((*inode, head[:SAMPLE], *more)).encode()
    return f"{number}.{hashlib.blake2b(known, digest_size=4).hexdigest()}"


def number_of(file_id: str) -> int:
    """Return the number in a file's id."""
    return int(file_id.partition(".")[0])


def unread(progress: Progress) -> Progress:
    """Return the position at the beginning of a file that is known."""
    # A document is known by a fingerprint of the whole of it, a file of lines by one of what was read.
    fingerprint = progress.fingerprint if progress.size else fingerprint_of(b"", b"")
    return Progress(
        path=progress.path,
        real=progress.real,
        dev=progress.dev,
        ino=progress.ino,
        offset=0,
        line=0,
        fingerprint=fingerprint,
        sample=0,
        carriage_returns=progress.carriage_returns,
        size=progress.size,
    )


def load(checkpoint: Mapping[str, bytes]) -> tuple[Count, dict[str, Progress]]:
    """Read a checkpoint.

    Raises:
        SettingsError: it is not the checkpoint of a file source.
    """
    return load_parts(checkpoint, Progress, "a file source", "kind")


def load_parts(
    checkpoint: Mapping[str, bytes], progress: type[AnyProgress], of: str, setting: str
) -> tuple[Count, dict[str, AnyProgress]]:
    """Read a checkpoint with a part for each file, of this type; an error names the source and the setting.

    Raises:
        SettingsError: it is not the checkpoint of such a source.
    """
    try:
        count = msgspec.json.decode(checkpoint.get("", b"{}"), type=Count)
        files = {part: msgspec.json.decode(value, type=progress) for part, value in checkpoint.items() if part}
    except msgspec.DecodeError as exc:
        raise SettingsError(
            f"the checkpoint is not that of {of} ({exc}):"
            f" give the source another name, or set its previous {setting} again"
        ) from exc
    return count, files


def save(value: Count | Progress) -> bytes:
    """Write a part of a checkpoint."""
    return msgspec.json.encode(value)
