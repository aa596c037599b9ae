"""Which watermarks hold: this replica has read the publish topic up to their offsets. Sans-I/O."""

from collections import deque
from collections.abc import Iterator

from services.experience_api.stream.history import History
from shared.events.watermark import Watermark

PENDING = 16
"""Watermarks of one source that wait for their offsets; above it, the newest replaces the one before."""


class Reached:
    """Of each source, the newest watermark whose offsets this replica has read."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._pending: dict[str, deque[Watermark]] = {}
        self._reached: dict[str, Watermark] = {}

    def add(self, mark: Watermark) -> None:
        """Add a watermark about the publish topic."""
        pending = self._pending.setdefault(mark.source, deque())
        if len(pending) == PENDING:
            pending.pop()
        pending.append(mark)

    def all(self) -> Iterator[Watermark]:
        """Yield the newest watermarks that hold now, one a source."""
        epoch, positions = self._history.codec.epoch, dict(enumerate(self._history.head))
        for source, pending in list(self._pending.items()):
            while len(pending) > 1 and pending[0].epoch != epoch:
                pending.popleft()  # of a topic that was recreated, or is about to be
            while pending and pending[0].epoch == epoch and pending[0].passed_by(positions):
                self._note(pending.popleft())
            if not pending:
                del self._pending[source]
        yield from self._reached.values()

    def _note(self, mark: Watermark) -> None:
        known = self._reached.get(mark.source)
        if known is None or mark.as_of > known.as_of:
            self._reached[mark.source] = mark
