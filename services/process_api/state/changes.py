"""The state of one partition while transactions are in flight: committed state, and layers of changes above it.

    provisional     of one pipeline and one record; undone if the pipeline rejects the record
    open            of the transaction that is filled
    sealed          of the transactions that are in flight, oldest first
    store           what is committed

Sans-I/O, but for the store.
"""

import heapq
from collections import deque
from collections.abc import Iterator, Mapping
from operator import itemgetter

from sortedcontainers import SortedSet  # type: ignore[import-untyped]  # published without types

from services.process_api.state.store import Changes, Store

MISSING = object()


class Layer(dict[bytes, bytes | None]):
    """Changes that are not committed yet."""

    __slots__ = ("items_in_order",)

    def __init__(self) -> None:
        super().__init__()
        self.items_in_order: SortedSet[bytes] = SortedSet()
        """The keys of items among them: a search for some passes no others."""


class Layers:
    """The changes above a store. A run that fails drops them all."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.open = Layer()
        self.sealed: deque[Layer] = deque()

    def get(self, key: bytes) -> bytes | None:
        """Return a value as it will be once all transactions are committed."""
        if key in self.open:
            return self.open[key]
        for layer in reversed(self.sealed):
            if key in layer:
                return layer[key]
        return self.store.get(key)

    def seal(self) -> Changes:
        """Close the open layer, and return it: the changes of one transaction."""
        changes, self.open = self.open, Layer()
        self.sealed.append(changes)
        return changes

    def add(self, changes: Layer) -> None:
        """Add changes to the open layer."""
        self.open.update(changes)
        if changes.items_in_order:
            self.open.items_in_order.update(changes.items_in_order)

    def items(self, start: bytes, stop: bytes, provisional: Layer) -> Iterator[tuple[bytes, bytes]]:
        """Yield the items from `start` to before `stop`, in order, with their values."""
        layers = (*self.sealed, self.open, provisional)
        changed = (
            [(key, layer[key]) for key in layer.items_in_order.irange(start, stop, inclusive=(True, False))]
            for layer in reversed(layers)
        )
        last = None
        # Of equal keys, that of the newest layer comes first.
        for key, value in heapq.merge(*changed, self.store.scan(start, stop), key=itemgetter(0)):
            if key != last and value is not None:
                yield key, value
            last = key

    def scan(self, start: bytes, stop: bytes, provisional: Mapping[bytes, bytes | None]) -> Iterator[bytes]:
        """Yield the keys from `start` to before `stop`, in order."""
        above: dict[bytes, bool] = {}
        for layer in (*self.sealed, self.open, provisional):
            for key, value in layer.items():
                if start <= key < stop:
                    above[key] = value is not None
        below = (key for key, _ in self.store.scan(start, stop) if key not in above)
        return heapq.merge(below, sorted(key for key, kept in above.items() if kept))
