"""Leases in memory, for unit tests."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from shared.database.watchers import Watchers
from shared.lease.store import Granted, Held, Taken, watched
from shared.runtime.clock import SYSTEM_CLOCK, Clock


@dataclass(slots=True)
class _Row:
    owner: str
    epoch: int
    expires_at: float


class MemoryLeaseStore:
    """A `LeaseStore` of one process."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._rows: dict[str, _Row] = {}
        self._watchers: Watchers[str] = Watchers()

    async def acquire(self, name: str, owner: str, ttl: float) -> Granted | Taken:
        """Take a lease that is free, expired or the owner's own."""
        row = self._rows.get(name)
        now = self._clock.monotonic()
        if row is not None and row.owner != owner and row.expires_at > now:
            return Taken(row.expires_at - now)
        epoch = 1 if row is None else row.epoch + 1
        self._rows[name] = _Row(owner, epoch, now + ttl)
        return Granted(epoch)

    async def renew(self, name: str, owner: str, epoch: int, ttl: float) -> bool:
        """Extend a lease to `ttl` seconds from now."""
        row = self._rows.get(name)
        now = self._clock.monotonic()
        if row is None or (row.owner, row.epoch) != (owner, epoch) or row.expires_at <= now:
            return False
        row.expires_at = now + ttl
        return True

    async def revive(self, name: str, owner: str, epoch: int, ttl: float) -> bool:
        """Renew a lease although it may have expired."""
        row = self._rows.get(name)
        if row is None or (row.owner, row.epoch) != (owner, epoch):
            return False
        row.expires_at = self._clock.monotonic() + ttl
        return True

    async def release(self, name: str, owner: str, epoch: int) -> None:
        """Release a lease."""
        row = self._rows.get(name)
        if row is not None and (row.owner, row.epoch) == (owner, epoch):
            row.expires_at = self._clock.monotonic()
            self._watchers.notify(watched(name))

    async def held(self, prefix: str) -> Sequence[Held]:
        """Return the leases that are held now."""
        now = self._clock.monotonic()
        return [
            Held(name, row.owner, row.epoch, row.expires_at - now)
            for name, row in sorted(self._rows.items())
            if name.startswith(prefix) and row.expires_at > now
        ]

    def peek(self, name: str) -> tuple[int, float] | None:
        """Return the epoch of a lease and the seconds until it expires, below 0 if it has; None if never taken."""
        row = self._rows.get(name)
        return None if row is None else (row.epoch, row.expires_at - self._clock.monotonic())

    def watch(self, name: str) -> AbstractContextManager[asyncio.Event]:
        """Watch a lease."""
        return self._watchers.watch([name])
