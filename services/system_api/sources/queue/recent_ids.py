"""The messages that were published last, by id: repeats are dropped where a broker has no positions.

A broker without positions delivers a message again when its acknowledgement was lost, and a sender repeats a message
when the broker's confirmation was lost. Both come soon, so a window of the newest ids recognises them. The window is
saved with the events: each batch saves a part of its own, merged with the parts before it that are not much larger, so
that a batch writes little. No I/O.
"""

import base64
import hashlib
from collections import deque
from dataclasses import dataclass

import msgspec

from services.system_api.sources.queue.message import Message
from services.system_api.sources.source import Checkpoint, Loss
from shared.errors import SettingsError

_VERSION = 1
_PREFIX = "i"
_LARGEST = 2000
"""Maximum number of ids in a part: 38 KB."""
_DIGEST = 12
"""Bytes of a digest: with a window of a million ids, one message in 10**22 is taken for another one."""


class _Saved(msgspec.Struct, frozen=True):
    """The main part of a checkpoint."""

    v: int
    of: str
    """The queue, in words."""


@dataclass(slots=True)
class _Part:
    number: int
    digests: list[str]


_encode = msgspec.json.Encoder().encode


class RecentIds:
    """The ids of the last `window` messages of one queue, or up to two thousand more."""

    def __init__(self, of: str, window: int, checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint. `of` is the queue in words.

        Raises:
            SettingsError: the checkpoint is of another source.
        """
        self.losses: list[Loss] = []
        self._of = of
        self._window = window
        self._known: set[str] = set()
        self._parts: deque[_Part] = deque()
        self._fresh: list[str] = []
        self._begun = "" in checkpoint
        if checkpoint:
            self._load(checkpoint)

    def published(self, message: Message) -> bool:
        """Return whether a message with this id and this body was published; False where it has no id."""
        return message.identified and _digest(message) in self._known

    def add(self, message: Message) -> None:
        """Note that this message is published."""
        if message.identified:
            digest = _digest(message)
            self._known.add(digest)
            self._fresh.append(digest)

    def take_checkpoint(self) -> dict[str, bytes | None]:
        """Return the parts that have changed."""
        saved: dict[str, bytes | None] = {}
        if not self._begun:
            saved[""] = _encode(_Saved(_VERSION, self._of))
            self._begun = True
        for start in range(0, len(self._fresh), _LARGEST):
            saved |= self._append(self._fresh[start : start + _LARGEST])
        self._fresh = []
        total = sum(len(part.digests) for part in self._parts)
        while self._parts and total - len(self._parts[0].digests) >= self._window:
            oldest = self._parts.popleft()
            total -= len(oldest.digests)
            self._known.difference_update(oldest.digests)
            saved[_name(oldest)] = None
        return saved

    def _append(self, digests: list[str]) -> dict[str, bytes | None]:
        saved: dict[str, bytes | None] = {}
        part = _Part(self._parts[-1].number + 1 if self._parts else 0, digests)
        while self._parts and _mergeable(self._parts[-1], part):
            before = self._parts.pop()
            saved[_name(before)] = None
            part = _Part(before.number, before.digests + part.digests)
        self._parts.append(part)
        saved[_name(part)] = _encode(part.digests)
        return saved

    def _load(self, checkpoint: Checkpoint) -> None:
        try:
            saved = msgspec.json.decode(checkpoint[""], type=_Saved)
            parts = [
                _Part(int(name.removeprefix(_PREFIX)), msgspec.json.decode(value, type=list[str]))
                for name, value in checkpoint.items()
                if name
            ]
        except (KeyError, ValueError, msgspec.MsgspecError) as exc:
            raise SettingsError(
                f"the checkpoint is not that of {self._of} ({exc}): give the source another name, or set its previous"
                " kind again"
            ) from exc
        if saved.v != _VERSION or saved.of != self._of:
            raise SettingsError(
                f"the checkpoint is of {saved.of} (version {saved.v}), the settings name {self._of}: give the source"
                " another name to start from the beginning"
            )
        for part in sorted(parts, key=lambda part: part.number):
            self._parts.append(part)
            self._known.update(part.digests)


def _digest(message: Message) -> str:
    # Of the body as well: a sender that gives two messages the same id must not lose the second one.
    digest = hashlib.blake2b(message.place.encode(errors="surrogatepass"), digest_size=_DIGEST)
    digest.update(b"\0")
    digest.update(message.body)
    return base64.b64encode(digest.digest()).decode()


def _name(part: _Part) -> str:
    return f"{_PREFIX}{part.number}"


def _mergeable(before: _Part, part: _Part) -> bool:
    size = len(before.digests)
    return size <= 2 * len(part.digests) and size + len(part.digests) <= _LARGEST
