"""What a record of the publish topic changes in the latest events. Sans-I/O.

A subject belongs to one source on one channel (CloudEvents 1.0, `subject`), as for conflation. An event without a
subject is the state of nothing, and is not kept.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from typing import NamedTuple

import msgspec

from services.experience_api.hub.patterns import PatternIndex
from services.experience_api.wire.snapshot_cursor import DIGEST_BYTES
from shared.bus.protocol import Record
from shared.errors import Malformed
from shared.events.event import channel


class _Attributes(msgspec.Struct):
    source: str = ""
    subject: str = ""
    type: str = ""


_decode = msgspec.json.Decoder(_Attributes).decode
_ROW_BYTES = 200


class Change(NamedTuple):
    """The latest event of a subject, or its end."""

    channel: str
    digest: bytes
    partition: int
    offset: int
    event: bytes | None
    """None if the subject is gone."""


class Kept:
    """Decides which events are kept."""

    def __init__(self, channels: Iterable[str], deleted_types: Iterable[str]) -> None:
        self.channels, self.deleted_types = tuple(channels), tuple(deleted_types)
        self._index: PatternIndex[str] = PatternIndex()
        for pattern in self.channels:
            self._index.add(pattern, pattern)
        self._deleted = re.compile("|".join(map(_glob, self.deleted_types)) or "(?!)")

    @property
    def digest(self) -> str:
        """The same for settings by which the same is kept."""
        text = repr((sorted(set(self.channels)), sorted(set(self.deleted_types))))
        return hashlib.blake2s(text.encode(), digest_size=DIGEST_BYTES).hexdigest()

    def covers(self, name: str) -> bool:
        """Return whether the latest events of a channel are kept."""
        return bool(self._index.find(name.encode()))

    def change(self, record: Record) -> Change | None:
        """Return what a record changes; None if that is nothing."""
        key, value = record.key or b"", record.value
        if value is None or not self._index.find(key):
            return None
        try:
            found, name = _decode(value), channel(key.decode("ascii"))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, Malformed):
            return None  # of another program: no event, or a key that names no channel, such as one with a NUL
        if not found.subject:
            return None
        gone = self._deleted.fullmatch(found.type) is not None
        digest = digest_of(found.source, found.subject)
        return Change(name, digest, record.partition, record.offset, None if gone else value)


def digest_of(source: str, subject: str) -> bytes:
    """Return what stands for a subject of a source: a subject may be longer than an index permits."""
    text = msgspec.json.encode((source, subject))
    return hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest()


def _glob(pattern: str) -> str:
    return translate(pattern.replace("[", "[[]").replace("?", "[?]"))


@dataclass(slots=True)
class Batch:
    """What is written in one transaction: the latest change of each subject, and how far the partitions are read."""

    before: dict[int, int]
    """The positions at which it begins, of every partition."""
    after: dict[int, int] = field(default_factory=dict)
    """The positions behind it, of those that move."""
    copied_ms: dict[int, int] = field(default_factory=dict)
    """The times of the newest records, by partition."""
    changes: dict[tuple[str, bytes], Change] = field(default_factory=dict)
    size: int = 0
    """Bytes of memory."""

    def add(self, record: Record, change: Change | None, now_ms: int) -> None:
        """Add the next record of its partition. Its time, which on Kafka its writer sets, may be ahead of `now_ms`."""
        self.after[record.partition] = record.offset + 1
        written_ms = min(record.timestamp, now_ms)
        self.copied_ms[record.partition] = max(written_ms, self.copied_ms.get(record.partition, 0))
        if change is None:
            return
        key = change.channel, change.digest
        before = self.changes.pop(key, None)  # the key is on one partition, so this change is the later one
        self.size += _cost(change) - (0 if before is None else _cost(before))
        self.changes[key] = change

    def advance(self, positions: Mapping[int, int]) -> None:
        """Advance over offsets without a record."""
        for partition, offset in positions.items():
            if offset > self.after.get(partition, self.before[partition]):
                self.after[partition] = offset

    @property
    def ends(self) -> dict[int, int]:
        """The positions behind it, of every partition."""
        return {**self.before, **self.after}


def _cost(change: Change) -> int:
    return _ROW_BYTES + len(change.event or b"")
