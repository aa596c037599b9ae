"""The rows that are published and not removed yet, and those that were rejected and stay. Saved in the checkpoint."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from services.system_api.sources.source import Checkpoint
from services.system_api.sources.table.checking.checkpoints import check_saved_mode, checkpoint_errors

REJECTED_LIMIT = 1000
"""Maximum number of rejected rows that are remembered."""

_PREFIX = "o"
_REJECTED = "r"
_VERSION = 1
_encode = msgspec.json.Encoder().encode


class _Saved(msgspec.Struct, frozen=True):
    """The main part of a checkpoint."""

    v: int
    mode: str
    next: int
    """The number of the next part."""


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
        self.rejected: dict[str, None] = {}
        self._rejected_changed = False
        if checkpoint:
            self._load(checkpoint)

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
        if self._rejected_changed:
            self._rejected_changed = False
            saved[_REJECTED] = _encode(list(self.rejected)) if self.rejected else None
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
                del self.rejected[key]
                self._rejected_changed = True

    def checkpoint(self) -> dict[str, bytes]:
        """Return the whole checkpoint."""
        saved = {part: _encode(keys) for part, keys in self._parts.items()}
        if self.rejected:
            saved[_REJECTED] = _encode(list(self.rejected))
        return saved | {"": self._main()}

    def _main(self) -> bytes:
        return _encode(_Saved(_VERSION, self._mode, self._next))

    def _reject(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.rejected[key] = None
            self._rejected_changed = True

    def _load(self, checkpoint: Checkpoint) -> None:
        with checkpoint_errors("a table in mode outbox", "mode"):
            saved = msgspec.json.decode(checkpoint[""], type=_Saved)
            for name, value in checkpoint.items():
                if name.startswith(_PREFIX):
                    self._parts[name] = msgspec.json.decode(value, type=list[str])
            rejected = msgspec.json.decode(checkpoint.get(_REJECTED, b"[]"), type=list[str])
        check_saved_mode(saved, _VERSION, self._mode)
        self._next, self.rejected = saved.next, dict.fromkeys(rejected)
        # What a checkpoint has is published.
        self.committed = list(self._parts)
