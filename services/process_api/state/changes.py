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

from services.process_api.state.store import Changes, Store

_Layer = dict[bytes, bytes | None]
MISSING = object()


class Layers:
    """The changes above a store. A run that fails drops them all."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.open: _Layer = {}
        self.sealed: deque[Changes] = deque()

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
        changes, self.open = self.open, {}
        self.sealed.append(changes)
        return changes

    def scan(self, start: bytes, stop: bytes, provisional: Mapping[bytes, bytes | None]) -> Iterator[bytes]:
        """Yield the keys from `start` to before `stop`, in order."""
        above: dict[bytes, bool] = {}
        for layer in (*self.sealed, self.open, provisional):
            for key, value in layer.items():
                if start <= key < stop:
                    above[key] = value is not None
        below = (key for key, _ in self.store.scan(start, stop) if key not in above)
        return heapq.merge(below, sorted(key for key, kept in above.items() if kept))
