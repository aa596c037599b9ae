"""The rows that are published and not removed yet, and those that were rejected and stay. Saved in the checkpoint."""

from collections.abc import Iterable, KeysView, Mapping, Sequence

import msgspec

from services.system_api.sources.source import Checkpoint
from services.system_api.sources.table.checking.checkpoints import check_saved_mode, checkpoint_errors

REJECTED_LIMIT = 1000
"""Number of rejected rows from which on they are reported as a problem."""

_PREFIX = "o"
_REJECTED = "r"
_LARGEST = 1000
"""Maximum number of rejected rows in a part."""
_LONGEST = 256 * 1024
"""Maximum number of characters of their keys, well below the bus's record limit, even escaped as JSON."""
_VERSION = 1
_encode = msgspec.json.Encoder().encode


class _Saved(msgspec.Struct, frozen=True):
    """The main part of a checkpoint."""

    v: int
    mode: str
    next: int
    """The number of the next part."""


class _Rejected:
    """Keys in parts, so that a batch saves only those that it changes, and none grows beyond the record limit."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        """The part of each key."""
        self._parts: dict[int, dict[str, None]] = {}
        self._lengths: dict[int, int] = {}
        self._changed: set[int] = set()

    def load(self, number: int, keys: Iterable[str]) -> None:
        part = self._parts[number] = dict.fromkeys(keys)
        self._lengths[number] = sum(map(len, part))
        self.places.update(dict.fromkeys(part, number))

    def add(self, key: str) -> None:
        if key in self.places:
            return
        number = max(self._parts, default=0)
        part = self._parts.setdefault(number, {})
        if part and (len(part) == _LARGEST or self._lengths[number] + len(key) > _LONGEST):
            number += 1
            part = self._parts[number] = {}
        part[key] = None
        self._lengths[number] = self._lengths.get(number, 0) + len(key)
        self.places[key] = number
        self._changed.add(number)

    def remove(self, key: str) -> None:
        number = self.places.pop(key)
        del self._parts[number][key]
        self._lengths[number] -= len(key)
        self._changed.add(number)

    def changed(self) -> dict[str, bytes | None]:
        """Return the parts that have changed since the last call, None for those that are empty."""
        found = {self._name(number): self._encoded(number) for number in sorted(self._changed)}
        self._changed.clear()
        return found

    def all(self) -> dict[str, bytes]:
        found = {self._name(number): self._encoded(number) for number in sorted(self._parts)}
        return {name: value for name, value in found.items() if value is not None}

    def _encoded(self, number: int) -> bytes | None:
        return _encode(list(self._parts[number])) if self._parts[number] else None

    @staticmethod
    def _name(number: int) -> str:
        return f"{_REJECTED}{number}" if number else _REJECTED


class OutboxState:
    """The rows of one table."""

    def __init__(self, mode: str, checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint. `mode` must be that of the checkpoint.

        Raises:
            SettingsError: the checkpoint is of another kind of source, or of another mode.
        """
        self._mode = mode
        self._next = 0
        self._parts: dict[str, list[str]] = {}
        self._removed: list[str] = []
        self.committed: list[str] = []
        """The parts whose rows are published and are to be removed."""
        self._rejected = _Rejected()
        if checkpoint:
            self._load(checkpoint)

    @property
    def rejected(self) -> KeysView[str]:
        """The keys of rows that were rejected and stay in the table."""
        return self._rejected.places.keys()

    @property
    def known(self) -> list[str]:
        """The keys of all rows that must not be read again."""
        return [*(key for keys in self._parts.values() for key in keys), *self.rejected]

    def take(self, keys: Sequence[str], rejected: Iterable[str] = ()) -> dict[str, bytes | None]:
        """Add the rows of a batch; return the parts of the checkpoint to save with it.

        `rejected` are keys of rows that stay in the table.
        """
        self._reject(rejected)
        saved: dict[str, bytes | None] = dict.fromkeys(self._removed)
        self._removed = []
        if keys:
            part = f"{_PREFIX}{self._next}"
            self._next += 1
            self._parts[part] = list(keys)
            saved[part] = _encode(keys)
        saved |= self._rejected.changed()
        if saved:
            saved[""] = self._main()
        return saved

    def note_committed(self, saved: Mapping[str, bytes | None], rejected: Iterable[str] = ()) -> None:
        """Note that a batch with these parts is committed: its rows are to be removed, but for those `rejected`."""
        for part, value in saved.items():
            if part.startswith(_PREFIX) and value is not None:
                stay = set(rejected) & set(self._parts[part])
                self._reject(stay)
                self._parts[part] = [key for key in self._parts[part] if key not in stay]
                self.committed.append(part)

    def keys(self, part: str) -> list[str]:
        """Return the keys of a part."""
        return self._parts[part]

    def removed(self, part: str) -> None:
        """Note that the rows of a part are removed: the part leaves the checkpoint with the next batch."""
        self.committed.remove(part)
        del self._parts[part]
        self._removed.append(part)

    def forget_rejected(self, gone: Iterable[str]) -> None:
        """Forget rejected rows that are no longer in the table."""
        for key in gone:
            if key in self.rejected:
                self._rejected.remove(key)

    def checkpoint(self) -> dict[str, bytes]:
        """Return the whole checkpoint."""
        saved = {part: _encode(keys) for part, keys in self._parts.items()}
        return saved | self._rejected.all() | {"": self._main()}

    def _main(self) -> bytes:
        return _encode(_Saved(_VERSION, self._mode, self._next))

    def _reject(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._rejected.add(key)

    def _load(self, checkpoint: Checkpoint) -> None:
        with checkpoint_errors("a table in mode outbox", "mode"):
            saved = msgspec.json.decode(checkpoint[""], type=_Saved)
            for name, value in checkpoint.items():
                if name.startswith(_PREFIX):
                    self._parts[name] = msgspec.json.decode(value, type=list[str])
                elif name.startswith(_REJECTED):
                    number = int(name.removeprefix(_REJECTED) or 0)
                    self._rejected.load(number, msgspec.json.decode(value, type=list[str]))
        check_saved_mode(saved, _VERSION, self._mode)
        self._next = saved.next
        # What a checkpoint has is published.
        self.committed = list(self._parts)
