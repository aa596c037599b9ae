"""Which positions of an ordered log have been published: everything up to a mark, and single positions above it.

Brokers that deliver to a group may deliver out of order: a message that another member did not acknowledge comes again
after newer ones. The mark therefore moves only as far as nothing is missing below it, and the positions above it are
kept one by one. A broker that delivers in order has no positions above its mark. No I/O.
"""

import bisect
from collections.abc import Collection, Mapping
from typing import Generic, TypeVar

import msgspec

from services.system_api.sources.queue.message import Message
from services.system_api.sources.source import Checkpoint, Loss
from shared.errors import SettingsError

_VERSION = 1

LIMIT = 10_000
"""Maximum number of positions above the mark: 200 KB in each transaction. From there on nothing new is read."""

LAST = "last"
"""The fact that holds the digest of the message at the highest published position, where its log has digests."""

Position = TypeVar("Position", int, tuple[int, int])
"""An offset, or a pair such as the id of a Redis entry; the positions of one log are of one type."""


class _Saved(msgspec.Struct, frozen=True):
    """One part of a checkpoint."""

    v: int
    of: str
    """The queue or topic, in words."""
    epoch: str
    """Identifies this log among those that had its name before or will have it later; empty where nothing does."""
    incarnation: int
    """How often the log was replaced by another one of its name."""
    mark: int | tuple[int, int] | None
    above: list[int | tuple[int, int]]
    facts: dict[str, int | str]


_encode = msgspec.json.Encoder().encode


class Mark(Generic[Position]):
    """The published positions of one log."""

    def __init__(self) -> None:
        self.epoch = ""
        self.incarnation = 0
        self.mark: Position | None = None
        """Everything up to here is published, or will never be delivered."""
        self.above: list[Position] = []
        """Published positions above the mark, in order."""
        self.facts: dict[str, int | str] = {}
        """What the broker needs to recognise that the log was replaced or truncated; saved with the next position."""
        self.changed = False

    @property
    def prefix(self) -> str:
        """What ids of messages begin with, so that those of a log and of its replacement differ."""
        return f"r{self.incarnation}." if self.incarnation else ""

    @property
    def full(self) -> bool:
        """Whether too many positions are above the mark: what is missing below must be published first."""
        return len(self.above) >= LIMIT

    @property
    def highest(self) -> Position | None:
        """The highest position that is published."""
        return self.above[-1] if self.above else self.mark

    def published(self, position: Position) -> bool:
        """Return whether a position is published."""
        if self.mark is not None and position <= self.mark:
            return True
        index = bisect.bisect_left(self.above, position)
        return index < len(self.above) and self.above[index] == position

    def add(self, position: Position, *, contiguous: bool) -> None:
        """Note that a position is published; if `contiguous`, nothing below it can be delivered any more."""
        self.changed = True
        if contiguous and not self.above:
            self.mark = position
            return
        if not self.published(position):
            bisect.insort(self.above, position)
        if contiguous:
            self.raise_mark(position)

    def raise_mark(self, bound: Position | None) -> None:
        """Move the mark up to the highest published position that is not above `bound`; None: to the highest of all.

        Nothing that is unpublished and up to `bound` can be delivered any more.
        """
        covered = len(self.above) if bound is None else bisect.bisect_right(self.above, bound)
        if covered:
            self.mark = self.above[covered - 1]
            del self.above[:covered]
            self.changed = True

    def begin(self, epoch: str, mark: Position | None) -> None:
        """Begin a log at its first opening: nothing above `mark` is published."""
        self.epoch, self.mark = epoch, mark
        self.above.clear()
        self.facts.pop(LAST, None)
        self.changed = True

    def replace(self, epoch: str) -> None:
        """Begin another log of the same name from its beginning: nothing of it is published."""
        self.begin(epoch, None)
        self.incarnation += 1
        self.facts = {}

    def truncate(self, mark: Position | None) -> None:
        """Continue after an earlier place, behind which the log has been, or will be, written anew."""
        self.begin(self.epoch, mark)
        self.incarnation += 1

    def reset(self, mark: Position | None) -> None:
        """Continue after another place in this log."""
        self.begin(self.epoch, mark)


class Positions(Generic[Position]):
    """The published positions of one queue or topic: one `Mark` for each of its partitions."""

    def __init__(self, of: str, kind: type[Position], checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint. `of` is the queue or topic in words; `kind` is the type of its positions.

        Raises:
            SettingsError: the checkpoint is of another source.
        """
        self._of = of
        self.losses: list[Loss] = []
        self.marks: dict[str, Mark[Position]] = {}
        """By name of the partition."""
        self.gaps = False
        """Whether something below the newest messages may still be delivered; set by the connection."""
        for part, value in checkpoint.items():
            self.marks[part] = self._loaded(value, kind)

    def of(self, partition: str = "") -> Mark[Position]:
        """Return the mark of a partition, a new one where it has none."""
        if partition not in self.marks:
            self.marks[partition] = Mark()
        return self.marks[partition]

    def published(self, message: Message) -> bool:
        """Return whether this message is published."""
        return self.of(message.partition).published(message.position)  # type: ignore[arg-type] # of its connection

    def add(self, message: Message) -> None:
        """Note that this message is published."""
        mark = self.of(message.partition)
        mark.add(message.position, contiguous=not self.gaps)  # type: ignore[arg-type] # as above
        if message.position == mark.highest:
            mark.facts.pop(LAST, None)
            if message.digest is not None:
                mark.facts[LAST] = message.digest

    def take_checkpoint(self) -> dict[str, bytes | None]:
        """Return the parts that have changed."""
        saved: dict[str, bytes | None] = {}
        for part, mark in self.marks.items():
            if mark.changed:
                saved[part] = _encode(
                    _Saved(_VERSION, self._of, mark.epoch, mark.incarnation, mark.mark, list(mark.above), mark.facts)
                )
                mark.changed = False
        return saved

    def checkpoint_after(
        self, places: Mapping[str, Position | None], without: Collection[str] = ()
    ) -> dict[str, bytes]:
        """Return the whole checkpoint that continues after other places of the same logs, with the same ids as before.

        `places` are positions by partition; None is before the first one. `without` are facts that do not hold there.
        """
        found = {}
        for part, position in places.items():
            mark = self.of(part)
            facts = {name: value for name, value in mark.facts.items() if name not in without}
            found[part] = _encode(_Saved(_VERSION, self._of, mark.epoch, mark.incarnation, position, [], facts))
        return found

    def _loaded(self, value: bytes, kind: type[Position]) -> Mark[Position]:
        try:
            saved = msgspec.json.decode(value, type=_Saved)
        except msgspec.MsgspecError as exc:
            raise SettingsError(
                f"the checkpoint is not that of {self._of} ({exc}): give the source another name, or set its previous"
                " kind again"
            ) from exc
        if saved.v != _VERSION or saved.of != self._of:
            raise SettingsError(
                f"the checkpoint is of {saved.of} (version {saved.v}), the settings name {self._of}: give the source"
                " another name to start from the beginning"
            )
        mark: Mark[Position] = Mark()
        mark.epoch, mark.incarnation, mark.facts = saved.epoch, saved.incarnation, saved.facts
        try:
            mark.mark = None if saved.mark is None else msgspec.convert(saved.mark, kind)
            mark.above = msgspec.convert(saved.above, list[kind])  # type: ignore[valid-type] # a type that is a value
        except msgspec.ValidationError as exc:
            raise SettingsError(
                f"the checkpoint has positions of another kind ({exc}): give the source another name to start from the"
                " beginning"
            ) from exc
        return mark
