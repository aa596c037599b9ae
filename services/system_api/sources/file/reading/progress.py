"""How far one file has been read, as it is saved: one part of the source's checkpoint a file. No I/O."""

import hashlib
from collections.abc import Mapping

import msgspec

from shared.errors import SettingsError

SAMPLE = 512
"""Bytes of a file's head, and of its last line that was read, that go into its mark."""


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A place in a file, and by what the file is known again."""

    path: str
    """Where it was last seen."""
    dev: int
    ino: int
    offset: int
    """Everything before this byte has been published or put aside."""
    line: int
    fingerprint: str
    """Of its head and of the last line before `offset`; see `mark_of`."""
    sample: int
    """Bytes of the last line that are in the mark; they end before the newline at `offset - 1`."""
    rows: int = 0
    rejects: int = 0
    truncated: bool = False
    """Whether some of its bytes are in no event and in no dead letter, for they were too many."""
    done: tuple[int, int] | None = None
    """Size and time (ns) of a dropped file of which all has been published."""

    @property
    def inode(self) -> tuple[int, int]:
        """The file it was when it was last seen."""
        return self.dev, self.ino

    @property
    def head(self) -> int:
        """Bytes of the file's head that are in the mark."""
        return min(SAMPLE, self.offset)


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is saved for the source itself."""

    files: int = 0
    """How many files it has begun to read: the next one's number is one more."""


def fingerprint_of(head: bytes, last: bytes) -> str:
    """Return what tells a file that was read so far from one of other contents."""
    return hashlib.blake2b(b"%d:%b%b" % (len(head), head, last), digest_size=8).hexdigest()


def new_file_id(number: int, inode: tuple[int, int], head: bytes, *more: int) -> str:
    """Return what names a file in event ids: its number within the source, which no other file ever has, and a hash.

    The hash keeps ids apart where checkpoints were lost and numbers begin anew.
    """
    known = repr((*inode, head[:SAMPLE], *more)).encode()
    return f"{number}.{hashlib.blake2b(known, digest_size=4).hexdigest()}"


def number_of(file_id: str) -> int:
    """Return the number in a file's id."""
    return int(file_id.partition(".")[0])


def load(checkpoint: Mapping[str, bytes]) -> tuple[Count, dict[str, Progress]]:
    """Read a checkpoint.

    Raises:
        SettingsError: it is not one of a file source.
    """
    try:
        count = msgspec.json.decode(checkpoint.get("", b"{}"), type=Count)
        files = {part: msgspec.json.decode(value, type=Progress) for part, value in checkpoint.items() if part}
    except msgspec.DecodeError as exc:
        raise SettingsError(
            f"the checkpoint is not one of a file source ({exc}): give the source another name, or back its kind"
        ) from exc
    return count, files


def save(value: Count | Progress) -> bytes:
    """Write a part of a checkpoint."""
    return msgspec.json.encode(value)
