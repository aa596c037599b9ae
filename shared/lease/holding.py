"""Holds a lease: waits for it, renews it in the background, and reports in time that it is lost."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from shared.errors import Unavailable
from shared.lease.store import Granted, LeaseStore
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks, cancelled

logger = logging.getLogger(__name__)

TTL = 6.0
"""Seconds for which a lease is valid after a renewal: others wait this long for a dead owner."""

_RENEWALS = 3
"""Renewals in one TTL: two may fail before the lease is lost."""
_MARGIN = 1 / 6
"""The share of the TTL, at its end, in which the owner must have stopped already."""
_RETRIES = 24
"""Attempts in one TTL while the store does not answer."""


class Lease:
    """A lease that is held until it is lost."""

    def __init__(self, name: str, owner: str, epoch: int, clock: Clock) -> None:
        self.name = name
        self.owner = owner
        self.epoch = epoch
        self._clock = clock
        self._valid_until = 0.0
        self._lost = asyncio.Event()

    @property
    def held(self) -> bool:
        """Whether the lease is certainly held now; it becomes false in time even if the event loop is blocked."""
        return not self._lost.is_set() and self.remaining > 0

    @property
    def remaining(self) -> float:
        """Seconds for which the lease is certainly held without another renewal."""
        return self._valid_until - self._clock.monotonic()

    async def lost(self) -> None:
        """Return once another owner may soon have the lease; a margin remains to stop in."""
        await self._lost.wait()

    def extend(self, valid_until: float) -> None:
        """Note a renewal; in the clock's monotonic seconds."""
        self._valid_until = valid_until

    def lose(self) -> None:
        """Note that the lease is lost."""
        self._lost.set()


class Leases:
    """The leases of one replica."""

    def __init__(self, store: LeaseStore, owner: str, *, ttl: float = TTL, clock: Clock = SYSTEM_CLOCK) -> None:
        """`owner` is unique among living replicas; a replica that keeps it after a restart gets its leases at once."""
        self._store = store
        self._owner = owner
        self._ttl = ttl
        self._clock = clock
        self._displaced: set[str] = set()
        """Leases that a newer process of the same owner took while this one held them."""
        self._lost_at: dict[str, float] = {}
        """By lease, in monotonic seconds: when it was lost."""

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[Lease]:
        """Wait until `name` is free and take it; leaving the context releases it.

        If a newer process of the same owner took the lease from this one, this one does not take it back while the
        newer process lives: that is its restart, or an unwanted second process.

        The body is not interrupted when the lease is lost: it must check `lost()` and `held`.

        Raises:
            Unavailable: the store does not answer.
        """
        # Under another name after it was displaced: two processes of one name would keep taking it from each other.
        owner = f"{self._owner} (displaced)" if name in self._displaced else self._owner
        lease = await self._acquire(name, owner)
        self._displaced.discard(name)
        self._log_acquired_again(name)
        async with Tasks() as tasks:
            renewing = tasks.start(f"renew lease {name}", self._keep(lease))
            try:
                yield lease
            finally:
                held = lease.held
                await cancelled(renewing)
                if held:
                    await self._release(lease)

    async def _acquire(self, name: str, owner: str) -> Lease:
        # Watch before the first attempt, so that no release is missed.
        with self._store.watch(name) as released:
            while True:
                released.clear()
                began = self._clock.monotonic()
                answer = await self._store.acquire(name, owner, self._ttl)
                if isinstance(answer, Granted):
                    lease = Lease(name, owner, answer.epoch, self._clock)
                    lease.extend(self._valid_until(began))
                    return lease
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(max(answer.expires_in, 0.01), self._ttl)):
                        await released.wait()

    def _valid_until(self, requested_at: float) -> float:
        """Return until when a lease is valid that was requested then.

        The store counts from its answer, which is later: the owner stops early rather than late.
        """
        return requested_at + self._ttl * (1 - _MARGIN)

    async def _keep(self, lease: Lease) -> None:
        """Renew the lease until that fails; however this ends, the lease counts as lost from then on."""
        pause = self._ttl / _RENEWALS
        try:
            while True:
                await self._clock.sleep(min(pause, max(lease.remaining, 0)))
                if lease.remaining <= 0:
                    self._log_lost(lease, "not renewed in time")
                    return
                renewed = await self._renew(lease)
                if renewed is False:
                    self._displaced.add(lease.name)
                    self._log_lost(lease, "expired, or taken by another owner")
                    return
                pause = self._ttl / (_RETRIES if renewed is None else _RENEWALS)
        finally:
            lease.lose()

    async def _renew(self, lease: Lease) -> bool | None:
        """Return whether the lease is still held; None if the store does not answer."""
        requested_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(lease.remaining):
                renewed = await self._store.renew(lease.name, lease.owner, lease.epoch, self._ttl)
        except (Unavailable, TimeoutError) as exc:
            logger.debug("lease not renewed yet", extra=_fields(lease.name) | {"error": str(exc) or "no answer"})
            return None
        if renewed:
            lease.extend(self._valid_until(requested_at))
        return renewed

    async def _release(self, lease: Lease) -> None:
        try:
            async with asyncio.timeout(lease.remaining):
                await self._store.release(lease.name, lease.owner, lease.epoch)
        except (Unavailable, TimeoutError) as exc:
            fields = _fields(lease.name) | {"error": str(exc) or "no answer", "after_s": self._ttl}
            logger.warning("could not release lease; it will expire", extra=fields)

    def _log_lost(self, lease: Lease, reason: str) -> None:
        self._lost_at[lease.name] = self._clock.monotonic()
        logger.error("lost lease", extra=_fields(lease.name) | {"reason": reason})

    def _log_acquired_again(self, name: str) -> None:
        lost_at = self._lost_at.pop(name, None)
        if lost_at is not None:
            after = round(self._clock.monotonic() - lost_at, 3)
            logger.info("acquired lease again", extra=_fields(name) | {"after_s": after})


def _fields(lease: str) -> dict[str, object]:
    return {"component": "lease", "lease": lease}
