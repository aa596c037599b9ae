"""What look-ups found, kept for a while; bounded, the least recently used leave first. Sans-I/O."""

from collections import OrderedDict
from typing import NamedTuple

from pydantic import Field

from shared.settings import Options

_ENTRY_BYTES = 200
"""What an entry costs beside its value and its key, about."""


class CacheOptions(Options):
    """How long found values are kept."""

    ttl: float = Field(default=60.0, ge=0)
    """Seconds for which a value that was found is used; 0: values are looked up for each batch."""

    negative_ttl: float = Field(default=10.0, ge=0)
    """The same for a key for which nothing was found."""

    size: int = Field(default=100_000, ge=1)
    """Keys that are kept at most; the least recently used leave first."""

    bytes: int = Field(default=64 * 1_048_576, ge=1)
    """Bytes of keys and values that are kept at most."""

    stale_while_unavailable: bool = False
    """Whether an older value is used while the other system does not answer. Without, the partition waits."""


class _Entry(NamedTuple):
    value: bytes | None
    fresh_until: float


class Cache:
    """The values of one look-up, by the names of their keys. All times are in monotonic seconds."""

    def __init__(self, options: CacheOptions) -> None:
        self._options = options
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def fresh(self, name: str, now: float) -> tuple[bytes | None] | None:
        """Return the value of a key, None inside where nothing was found; None where it has to be looked up."""
        entry = self._entries.get(name)
        if entry is None or entry.fresh_until <= now:
            return None
        self._entries.move_to_end(name)
        return (entry.value,)

    def stale(self, name: str) -> tuple[bytes | None] | None:
        """Return the value of a key however old it is, None where there is none or it must not be used."""
        entry = self._entries.get(name) if self._options.stale_while_unavailable else None
        return None if entry is None else (entry.value,)

    def put(self, name: str, value: bytes | None, now: float) -> None:
        """Keep what was found for a key; None is nothing."""
        ttl = self._options.negative_ttl if value is None else self._options.ttl
        self._remove(name)
        size = _size(name, value)
        # One that is too large by itself would displace all others.
        if (ttl <= 0 and not self._options.stale_while_unavailable) or size > self._options.bytes:
            return
        self._entries[name] = _Entry(value, now + ttl)
        self._bytes += size
        while len(self._entries) > self._options.size or self._bytes > self._options.bytes:
            self._remove(next(iter(self._entries)))

    def _remove(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._bytes -= _size(name, entry.value)


def _size(name: str, value: bytes | None) -> int:
    return _ENTRY_BYTES + len(name) + len(value or b"")
