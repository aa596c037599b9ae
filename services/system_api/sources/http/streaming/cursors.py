"""What is published of a stream, and where to resume it. No I/O.

A message with a cursor of its own is identified by it. One without is identified by a number, which goes on after
restarts; whether it was published before cannot be known.
"""

from collections import OrderedDict
from typing import NamedTuple

import msgspec

from services.system_api.sources.source import Checkpoint
from shared.errors import SettingsError

_VERSION = 1


class _Saved(msgspec.Struct, frozen=True):
    v: int
    epoch: str
    cursor: str | None
    number: int
    recent: list[str]
    key: str
    """The message of which only some items are published; empty if there is none."""
    items: int
    """How many items of it are published."""


class Key(NamedTuple):
    """What identifies a message."""

    text: str
    """With it begin the ids of its events."""
    cursor: str | None
    """Where to resume after it; None: it does not move the place."""
    number: int
    """How many messages without a cursor of their own there were."""


class StreamState:
    """The place in one stream."""

    def __init__(self, checkpoint: Checkpoint, window: int, epoch: str, start: str | None = None) -> None:
        """Resume from a checkpoint; without one, begin after the cursor `start`.

        `epoch` begins the ids of messages without a cursor if there is no checkpoint.

        Raises:
            SettingsError: the checkpoint is of another kind of source.
        """
        self._window = window
        saved = _Saved(_VERSION, epoch, start, 0, [], "", 0)
        self.begun = bool(checkpoint)
        """Whether the stream was read before."""
        if checkpoint:
            try:
                saved = msgspec.json.decode(checkpoint[""], type=_Saved)
            except (KeyError, msgspec.MsgspecError) as exc:
                raise SettingsError(
                    "the checkpoint is not that of a stream: give the source another name, or set its previous kind"
                    " again"
                ) from exc
        if saved.v != _VERSION:
            raise SettingsError(f"the checkpoint is of a newer release (version {saved.v})")
        self.cursor = saved.cursor
        """Where to resume: everything up to here is in a batch."""
        self._epoch, self._published = saved.epoch, saved.number
        self._recent = OrderedDict.fromkeys(saved.recent)
        """The cursors that are in a batch."""
        self._partial = (saved.key, saved.items)
        self._number = saved.number
        self._received: OrderedDict[str, None] = OrderedDict()
        self._resumed, self._seen = True, self.cursor
        self.reconnected()

    def reconnected(self) -> None:
        """Note that the stream begins again behind the cursor; nothing that was received before is left to publish."""
        self._received = OrderedDict.fromkeys(self._recent)
        self._resumed, self._seen = True, self.cursor

    def key(self, own: str | None) -> Key | None:
        """Return what identifies the next message, None if it was received before; `own` is its cursor."""
        if own is None:
            return self._numbered("", None)
        if own == self._seen and not self._resumed:
            return self._numbered(f"{own}.", own)  # a server may give several messages one cursor
        if own in self._received or own == self._seen:
            return None
        self._seen, self._resumed = own, False
        self._remember(self._received, own)
        return Key(own, own, self._number)

    def skipped(self, key: Key) -> int:
        """Return how many items of a message are published already."""
        return self._partial[1] if key.text == self._partial[0] else 0

    def publish(self, key: Key, items: int, *, last: bool) -> None:
        """Note that so many items of a message are in a batch; `last` says that those are all."""
        self.begun = True
        if not last:
            self._partial = (key.text, items)
            return
        self._partial = ("", 0)
        self._published = key.number
        if key.cursor is not None:
            self.cursor = key.cursor
            self._remember(self._recent, key.cursor)

    def save(self) -> bytes:
        """Return the checkpoint."""
        key, items = self._partial
        recent = list(self._recent)
        return msgspec.json.encode(_Saved(_VERSION, self._epoch, self.cursor, self._published, recent, key, items))

    def _numbered(self, prefix: str, cursor: str | None) -> Key:
        self._number += 1
        return Key(f"{prefix}{self._epoch}.{self._number}", cursor, self._number)

    def _remember(self, known: OrderedDict[str, None], cursor: str) -> None:
        known[cursor] = None
        while len(known) > self._window:
            known.popitem(last=False)
