"""The store in memory, for small state. It is lost with the process, and restored from the changelog. Sans-I/O."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import ClassVar

from services.process_api.state.store import INSTANCE_BYTES, Changes, Mark, Size

_TABLE = 5
"""Bytes of a key that name its table: the step, and the kind of the key."""


class _Table:
    """Keys that begin alike. Their order is established when it is asked for."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self._ordered: list[bytes] = []
        self._added: list[bytes] = []

    def put(self, key: bytes, value: bytes) -> None:
        if key not in self.values:
            self._added.append(key)
        self.values[key] = value

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        if self._added or len(self._ordered) > 2 * len(self.values):
            # Keys that were deleted and added again are in both lists.
            known = {key for key in self._added if key in self.values}
            self._ordered = [key for key in self._ordered if key in self.values and key not in known]
            self._ordered += known
            self._ordered.sort()
            self._added = []
        for index in range(bisect_left(self._ordered, start), bisect_left(self._ordered, stop)):
            key = self._ordered[index]
            value = self.values.get(key)
            if value is not None:
                yield key, value


class MemoryStore:
    """A `Store`."""

    threaded: ClassVar = False

    def __init__(self) -> None:
        self.mark: Mark | None = None
        self._tables: dict[bytes, _Table] = {}
        self.sizes: dict[bytes, Size] = {}

    def get(self, key: bytes) -> bytes | None:
        table = self._tables.get(key[:_TABLE])
        return None if table is None else table.values.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        table = self._tables.get(start[:_TABLE])
        return iter(()) if table is None else table.scan(start, stop)

    def apply(self, changes: Changes, mark: Mark | None = None) -> None:
        for key, value in changes.items():
            table = self._tables.get(key[:_TABLE])
            before = None if table is None else table.values.get(key)
            instance = key[:INSTANCE_BYTES]
            self.sizes[instance] = self.sizes.get(instance, Size()).changed(key, before, value)
            if value is not None:
                if table is None:
                    table = self._tables[key[:_TABLE]] = _Table()
                table.put(key, value)
            elif table is not None:
                table.values.pop(key, None)
        self.mark = mark or self.mark

    def clear(self) -> None:
        self._tables.clear()
        self.sizes.clear()
        self.mark = None


class MemoryStores:
    """`Stores` in memory: a run that fails leaves its state for the next one."""

    def __init__(self) -> None:
        self._stores: dict[int, MemoryStore] = {}

    def store(self, partition: int) -> MemoryStore:
        """Return the store of a partition."""
        return self._stores.setdefault(partition, MemoryStore())

    def release(self, partition: int) -> None:
        """Forget the store of a partition."""
        self._stores.pop(partition, None)
