"""Filters of subscribers: predicates over events, each evaluated once per event for all connections that have it.

An event on which a filter fails is delivered: a subscriber can drop what it receives, and not know what it misses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakValueDictionary

import msgspec

from services.experience_api.wire.frames import message_of
from shared.errors import Malformed
from shared.expression.bounded import BoundedPredicate
from shared.expression.document import EventDocument

COUNT_LIMIT = 10
"""Filters that a connection may have."""
_MEMO_BYTES = 512 * 1024
"""Bytes of the frames of which a filter keeps the result, at most twice as many."""
_ROW_BYTES = 200


@dataclass(slots=True)
class FilterCounts:
    """Counts for metrics, of this process."""

    evaluations: int = 0
    """Events on which a filter was evaluated, once for all connections that have it."""
    failures: int = 0
    """Those on which it failed, and that were delivered for that reason."""


COUNTS = FilterCounts()


class _Latest:
    """The event that was filtered last: usually, its other filters follow."""

    def __init__(self) -> None:
        self._frame = b""
        self._document: EventDocument | None = None

    def document(self, frame: bytes) -> EventDocument:
        if self._document is None or frame is not self._frame:
            self._frame, self._document = frame, EventDocument(message_of(frame), without="cursor")
        return self._document


_latest = _Latest()


class Filter:
    """One predicate, shared by all connections that have it. Use `filter_of`."""

    __slots__ = ("__weakref__", "_before", "_memo", "_predicate", "_size")

    def __init__(self, expression: str) -> None:
        self._predicate = BoundedPredicate(expression)
        self._memo: dict[bytes, bool] = {}
        self._before: dict[bytes, bool] = {}
        self._size = 0

    def passes(self, frame: bytes) -> bool:
        """Return whether the event of a frame is delivered."""
        found = self._memo.get(frame)
        if found is None:
            found = self._before.get(frame)
            if found is None:
                found = self._evaluated(frame)
            self._size += len(frame) + _ROW_BYTES
            if self._size > _MEMO_BYTES:
                # All at once: to find the oldest key of a dictionary takes longer the more were deleted before it.
                self._before, self._memo = self._memo, {}
                self._size = len(frame) + _ROW_BYTES
            self._memo[frame] = found
        return found

    def _evaluated(self, frame: bytes) -> bool:
        COUNTS.evaluations += 1
        try:
            return self._predicate.holds(_latest.document(frame))
        except (Malformed, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            # Also what another program has written, and is no JSON: without a filter, it is delivered as well.
            COUNTS.failures += 1
            return True


_shared: WeakValueDictionary[str, Filter] = WeakValueDictionary()


def filter_of(expression: str) -> Filter:
    """Return the shared filter of an expression.

    Raises:
        Malformed: it is not a predicate that is bounded; the text names the position.
    """
    found = _shared.get(expression)
    if found is None:
        found = _shared[expression] = Filter(expression)
    return found


def check_filters(filters: Mapping[str, str]) -> None:
    """Check the filters that a connection asks for, by pattern.

    Raises:
        Malformed: one is invalid, or there are too many.
    """
    if len(filters) > COUNT_LIMIT:
        raise Malformed(f"found {len(filters)} filters; the limit is {COUNT_LIMIT}")
    for pattern, expression in filters.items():
        try:
            _ = filter_of(expression)
        except Malformed as exc:
            raise Malformed(f"filter of {pattern[:80]!r}: {exc}") from exc
