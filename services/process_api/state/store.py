"""The interface of a store: the committed state of one partition, as a cache of its changelog. Sans-I/O."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple, Protocol

Changes = Mapping[bytes, bytes | None]
"""New values by key; None deletes the key."""


class Mark(NamedTuple):
    """How much of the changelog a store holds."""

    epoch: str
    """Of the topic; see `Bus.epoch`."""
    offset: int
    """All records before it are in the store."""
    confirmed_ms: int
    """When that was known, in milliseconds since 1970."""


INSTANCE_BYTES = 4
"""Bytes of a key that name the instance of a step."""

_KIND = slice(4, 5)
_VALUES = (b"v", b"i")


class Size(NamedTuple):
    """How much state an instance of a step has."""

    keys: int = 0
    """Values; timers and numbers are not counted."""
    total: int = 0
    """Bytes of all keys and of what they hold."""

    def changed(self, key: bytes, before: bytes | None, after: bytes | None) -> "Size":
        """Return the size after a change of a key."""
        one = int(key[_KIND] in _VALUES)
        keys, total = self
        if before is not None:
            keys, total = keys - one, total - len(key) - len(before)
        if after is not None:
            keys, total = keys + one, total + len(key) + len(after)
        return Size(keys, total)


class Stores(Protocol):
    """The stores of one process."""

    def store(self, partition: int) -> "Store":
        """Return the store of a partition, with what an earlier run has left in it."""
        ...

    def release(self, partition: int) -> None:
        """Note that the partition is not assigned to this process any more."""
        ...


class Store(Protocol):
    """Committed state. It never holds anything that is not committed; it may lack what was committed last."""

    threaded: ClassVar[bool]
    """Whether another thread may call `apply`."""

    @property
    def mark(self) -> Mark | None:
        """How much of the changelog it holds; None for an empty store."""
        ...

    @property
    def sizes(self) -> Mapping[bytes, Size]:
        """How much state there is, by the first `INSTANCE_BYTES` of keys."""
        ...

    def get(self, key: bytes) -> bytes | None:
        """Return a value, None where there is none."""
        ...

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys from `start` to before `stop`, in order, with their values. Both begin with the same 5 bytes."""
        ...

    def apply(self, changes: Changes, mark: Mark | None = None) -> None:
        """Store committed changes and the mark, atomically."""
        ...

    def clear(self) -> None:
        """Delete everything, the mark too."""
        ...
