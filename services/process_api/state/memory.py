"""The store in memory, for small state. It is lost with the process, and restored from the changelog. Sans-I/O."""

from collections.abc import Iterator
from typing import ClassVar

from sortedcontainers import SortedList  # type: ignore[import-untyped]  # published without types

from services.process_api.state.keys import ORDERED
from services.process_api.state.store import INSTANCE_BYTES, Changes, Mark, Size

_TABLE = 5
"""Bytes of a key that name its table: the step, and the kind of the key."""

_AT_ONCE = 10_000
"""Keys that are put in order at once: that takes about 20 ms."""


class _Table:
    """Keys that begin alike. Their order is kept from the first scan on: tables of values are rarely scanned."""

    def __init__(self, *, ordered: bool) -> None:
        """`ordered` keeps the order from the beginning: to sort a million keys at once takes most of a second."""
        self.values: dict[bytes, bytes] = {}
        self._ordered: SortedList[bytes] | None = SortedList() if ordered else None
        self._added: set[bytes] = set()
        """Keys that are not in `_ordered` yet: many at once take less time."""

    def put(self, key: bytes, value: bytes) -> None:
        if self._ordered is not None and key not in self.values:
            self._added.add(key)
            if len(self._added) == _AT_ONCE:
                self._order_added(self._ordered)
        self.values[key] = value

    def delete(self, key: bytes) -> None:
        if self.values.pop(key, None) is None or self._ordered is None:
            return
        if key in self._added:
            self._added.remove(key)
        else:
            self._ordered.remove(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        if self._ordered is None:
            self._ordered = SortedList(self.values)
        elif self._added:
            self._order_added(self._ordered)
        for key in self._ordered.irange(start, stop, inclusive=(True, False)):
            yield key, self.values[key]

    def _order_added(self, ordered: "SortedList[bytes]") -> None:
        ordered.update(self._added)
        self._added.clear()


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
                    ordered = key[_TABLE - 1 : _TABLE] in ORDERED
                    table = self._tables[key[:_TABLE]] = _Table(ordered=ordered)
                table.put(key, value)
            elif table is not None:
                table.delete(key)
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
