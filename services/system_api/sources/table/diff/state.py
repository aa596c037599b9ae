"""What is known of each row: the hash of its last state, kept in memory and saved in parts of the checkpoint.

A row stays in the part that it was added to, and a batch saves the parts of the rows that it changes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from services.system_api.sources.source import Checkpoint
from services.system_api.sources.table.checking.checkpoints import check_saved_mode, checkpoint_errors

_PREFIX = "d"
_LARGEST = 1000
"""Maximum number of rows in a part."""
_LONGEST = 256 * 1024
"""Maximum number of characters of a part, well below the bus's record limit, even escaped as JSON."""
_VERSION = 1
_SNAPSHOT = "s"

_encode = msgspec.json.Encoder().encode


class Known(NamedTuple):
    """The last state of a row."""

    digest: str
    revision: int
    """The pass that found this state: with the key it is the id of the event."""
    subject: str | None
    """The subject of the event; None if the row was rejected."""


class _Saved(msgspec.Struct, frozen=True):
    """The main part of a checkpoint."""

    v: int
    mode: str
    revision: int


_Entry = tuple[str, str, int, str | None]
"""Key, digest, revision and subject."""
_SAME = ""
"""The subject is the key."""


@dataclass(slots=True)
class _Part:
    keys: dict[str, None] = field(default_factory=dict)
    length: int = 0

    def has_space(self, key: str) -> bool:
        return len(self.keys) < _LARGEST and self.length + len(key) <= _LONGEST

    def add(self, key: str) -> None:
        self.keys[key] = None
        self.length += len(key)

    def remove(self, key: str) -> None:
        del self.keys[key]
        self.length -= len(key)


class DiffState:
    """The rows of one table."""

    def __init__(self, mode: str, checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint. `mode` must be that of the checkpoint.

        Raises:
            SettingsError: the checkpoint is of another kind of source, or of another mode.
        """
        self._mode = mode
        self.revision = 0
        """The number of the current pass, or of the last one that has changed anything."""
        self.known: dict[str, Known] = {}
        self.snapshot = _SNAPSHOT in checkpoint
        """Whether the next pass publishes all rows, also those that have not changed."""
        self._parts: dict[int, _Part] = {}
        self._part_of: dict[str, int] = {}
        self._filling = 0
        if checkpoint:
            self._load(checkpoint)

    def begin_pass(self) -> None:
        """Begin a pass: the states that it finds get its number."""
        self.revision += 1

    def begin_snapshot(self) -> dict[str, bytes | None]:
        """Let the next pass publish all rows; return the parts of the checkpoint."""
        self.snapshot = True
        return self._main() | {_SNAPSHOT: b"1"}

    def end_snapshot(self) -> dict[str, bytes | None]:
        """Note that a pass has published all rows; return the part of the checkpoint to remove."""
        self.snapshot = False
        return {_SNAPSHOT: None}

    def put(self, changed: Iterable[tuple[str, Known]], deleted: Iterable[str] = ()) -> dict[str, bytes | None]:
        """Note new states and deleted rows; return the parts of the checkpoint to save with their events."""
        touched = set[int]()
        for key in deleted:
            if self.known.pop(key, None) is not None:
                number = self._part_of.pop(key)
                self._parts[number].remove(key)
                touched.add(number)
        for key, state in changed:
            self.known[key] = state
            if key not in self._part_of:
                self._place(key)
            touched.add(self._part_of[key])
        if not touched:
            return {}
        return self._main() | {f"{_PREFIX}{number}": self._encoded(number) for number in sorted(touched)}

    def _main(self) -> dict[str, bytes | None]:
        return {"": _encode(_Saved(_VERSION, self._mode, self.revision))}

    def _place(self, key: str) -> None:
        part = self._parts.setdefault(self._filling, _Part())
        if not part.has_space(key):
            self._filling = self._spacious()
            part = self._parts.setdefault(self._filling, _Part())
        part.add(key)
        self._part_of[key] = self._filling

    def _spacious(self) -> int:
        """Return the number of a part that is at most half full, or of a new one."""
        for number, part in self._parts.items():
            if 2 * len(part.keys) <= _LARGEST and 2 * part.length <= _LONGEST:
                return number
        return max(self._parts, default=-1) + 1

    def _encoded(self, number: int) -> bytes | None:
        keys = self._parts[number].keys
        entries = [_entry(key, self.known[key]) for key in keys]
        return _encode(entries) if entries else None

    def _load(self, checkpoint: Checkpoint) -> None:
        with checkpoint_errors("a table in mode diff", "mode"):
            saved = msgspec.json.decode(checkpoint[""], type=_Saved)
            for name, value in checkpoint.items():
                if name.startswith(_PREFIX):
                    self._load_part(int(name.removeprefix(_PREFIX)), msgspec.json.decode(value, type=list[_Entry]))
        check_saved_mode(saved, _VERSION, self._mode)
        self.revision = saved.revision

    def _load_part(self, number: int, entries: list[_Entry]) -> None:
        part = self._parts[number] = _Part()
        for key, digest, revision, subject in entries:
            self.known[key] = Known(digest, revision, key if subject == _SAME else subject)
            part.add(key)
            self._part_of[key] = number


def _entry(key: str, state: Known) -> _Entry:
    return key, state.digest, state.revision, _SAME if state.subject == key else state.subject
