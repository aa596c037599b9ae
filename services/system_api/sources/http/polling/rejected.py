"""Which unreadable records of a list are dead-lettered already, so that each poll does not repeat them. No I/O."""

import msgspec

from services.system_api.sources.source import Checkpoint
from shared.errors import SettingsError

LIMIT = 1000
"""Records that are remembered. While there are more, no others are dead-lettered."""
_PART = "rejected"


class RejectedRecords:
    """The digests of the records that the list had at the last poll, and that could not be read."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Raises `SettingsError` where the part is not that of this class."""
        self._saved = checkpoint.get(_PART, b"[]")
        try:
            self._known = set(msgspec.json.decode(self._saved, type=list[str]))
        except msgspec.DecodeError as exc:
            raise SettingsError(f"the checkpoint has an unknown part {_PART!r}") from exc
        self._listed: set[str] = set()
        self._overflowing = False

    @property
    def problem(self) -> str | None:
        """What is wrong, None if nothing."""
        if not self._overflowing:
            return None
        return f"more than {LIMIT} records cannot be read: no more are dead-lettered until some are corrected"

    def take(self, key: str) -> bool:
        """Note that the list has a record that cannot be read; return whether it is to be dead-lettered."""
        if key in self._known:
            self._listed.add(key)
            return False
        if len(self._known) >= LIMIT:
            self._overflowing = True
            return False
        self._known.add(key)
        self._listed.add(key)
        return True

    def finish(self) -> None:
        """Forget the records that the list does not have any more."""
        if len(self._listed) < LIMIT:
            self._overflowing = False
        self._known, self._listed = self._listed, set()

    def checkpoint(self) -> dict[str, bytes]:
        """Return the part of the checkpoint."""
        return {_PART: msgspec.json.encode(sorted(self._known))} if self._known else {}

    def saved(self) -> dict[str, bytes | None]:
        """Return the part of the checkpoint if it has changed since the last call."""
        value = msgspec.json.encode(sorted(self._known))
        if value == self._saved:
            return {}
        self._saved = value
        return {_PART: value if self._known else None}
