"""Conflation: of the events that come within a time, the latest one of each subject.

A round takes what a replay returns, in its order, and leaves out each event that a later one of its subject follows. So
the cursor of every frame keeps its meaning: a subscriber that resumes after it gets the latest event of each subject
that it has not received, because what was left out is followed by an event that it has received, or will.

A subject belongs to one source on one channel (CloudEvents 1.0, `subject`). An event without a subject, and a frame of
Trelay itself, is always kept.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from services.experience_api.wire.frames import message_of

_ROW_BYTES = 250
"""Memory of an event besides its frame: its subject, and its place in the round."""

Subject = tuple[str, str, str]
Key = TypeVar("Key", bound=Hashable)


class _Attributes(msgspec.Struct):
    channel: str = ""
    source: str = ""
    subject: str = ""


_decode = msgspec.json.Decoder(_Attributes).decode


def subject_of(frame: bytes) -> Subject | None:
    """Return the subject that the event of a frame is about; None if it names none."""
    try:
        found = _decode(message_of(frame))
    except (msgspec.DecodeError, RecursionError):
        return None  # an attribute of another type than CloudEvents permit
    return (found.channel, found.source, found.subject) if found.subject else None


class Taken(NamedTuple):
    """What a round has taken from memory."""

    frames: Sequence[bytes]
    replaced: int


class SharedRounds(Generic[Key]):
    """The newest rounds that were taken from memory: connections with the same conflation take the same ones."""

    def __init__(self, count: int = 16) -> None:
        self._count = count
        self._kept: dict[Key, Taken] = {}

    def find(self, key: Key) -> Taken | None:
        """Return what a round has taken."""
        return self._kept.get(key)

    def keep(self, key: Key, taken: Taken) -> None:
        """Keep what a round has taken; forget the oldest one beyond the limit."""
        self._kept[key] = taken
        if len(self._kept) > self._count:
            del self._kept[next(iter(self._kept))]


class Round:
    """The frames of one round. Sans-I/O."""

    def __init__(self, limit: int) -> None:
        """`limit` is the bytes of memory from which on the round is full."""
        self.replaced = 0
        """How many events were left out."""
        self._limit = limit
        self._frames: dict[object, bytes] = {}
        self._size = 0

    @property
    def empty(self) -> bool:
        return not self._frames

    @property
    def full(self) -> bool:
        """Whether the frames have to be written before more are added."""
        return self._size >= self._limit

    def add(self, frames: Iterable[bytes]) -> None:
        """Add frames in the order of the stream."""
        for frame in frames:
            key = subject_of(frame)
            before = None if key is None else self._frames.pop(key, None)
            if before is not None:
                self.replaced += 1
                self._size -= len(before)
            else:
                self._size += _ROW_BYTES
            self._frames[object() if key is None else key] = frame
            self._size += len(frame)

    @property
    def taken(self) -> Taken:
        """What was added."""
        return Taken(tuple(self._frames.values()), self.replaced)

    def repeat(self, taken: Taken) -> None:
        """Add to an empty round what another one has taken."""
        self._frames = {object(): frame for frame in taken.frames}
        self._size = sum(map(len, taken.frames)) + _ROW_BYTES * len(taken.frames)
        self.replaced += taken.replaced

    def take(self) -> list[bytes]:
        """Return the frames, in the order of the stream, and begin with none."""
        frames = list(self._frames.values())
        self._frames.clear()
        self._size = 0
        return frames
