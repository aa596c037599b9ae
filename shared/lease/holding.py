"""Holds a lease: waits for it, renews it in the background, and reports in time that it is lost."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
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

_LATE = "not renewed in time"
_TAKEN = "expired, or taken by another owner"


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


OnLapse = Callable[[Lease], None]
"""Takes a lease that lapses, because the store has not answered for too long, and takes it again once it is revived."""


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
    async def hold(self, name: str, on_lapse: OnLapse | None = None) -> AsyncIterator[Lease]:
        """Wait until `name` is free and take it; leaving the context releases it.

        If a newer process of the same owner took the lease from this one, this one does not take it back while the
        newer process lives: that is its restart, or an unwanted second process.

        The body is not interrupted when the lease is lost: it must check `lost()` and `held`.

        With `on_lapse`, a lease that cannot be renewed in time is not lost: it lapses. It is not held then, and others
        may take what it protects; the owner has to find out what was taken once it is revived. It is lost only when
        another owner has had it.

        Raises:
            Unavailable: the store does not answer.
        """
        # Under another name after it was displaced: two processes of one name would keep taking it from each other.
        owner = f"{self._owner} (displaced)" if name in self._displaced else self._owner
        lease = await self._acquire(name, owner)
        self._displaced.discard(name)
        self._log_acquired_again(name)
        async with Tasks() as tasks:
            renewing = tasks.start(f"renew lease {name}", self._keep(lease, on_lapse))
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

    async def _keep(self, lease: Lease, on_lapse: OnLapse | None) -> None:
        """Renew the lease until that fails; however this ends, the lease counts as lost from then on."""
        try:
            while True:
                reason = await self._renew_while_held(lease)
                if on_lapse is not None and await self._revived(lease, on_lapse):
                    continue
                if on_lapse is not None or reason == _TAKEN:
                    self._displaced.add(lease.name)
                self._log_lost(lease, reason)
                return
        finally:
            lease.lose()

    async def _renew_while_held(self, lease: Lease) -> str:
        """Renew the lease until that fails; return why it did."""
        pause = self._ttl / _RENEWALS
        while True:
            await self._clock.sleep(min(pause, max(lease.remaining, 0)))
            if lease.remaining <= 0:
                return _LATE
            renewed = await self._ask(self._store.renew, lease, lease.remaining)
            if renewed is False:
                return _TAKEN
            pause = self._ttl / (_RETRIES if renewed is None else _RENEWALS)

    async def _revived(self, lease: Lease, on_lapse: OnLapse) -> bool:
        """Revive the lease once the store answers; return False if another owner has had it."""
        lease.extend(self._clock.monotonic())
        self._lost_at[lease.name] = self._clock.monotonic()
        logger.warning("lease lapsed; waiting for the lease store", extra=_fields(lease.name))
        on_lapse(lease)
        while (revived := await self._ask(self._store.revive, lease, self._ttl / _RENEWALS)) is None:
            await self._clock.sleep(self._ttl / _RETRIES)
        if revived:
            self._log_acquired_again(lease.name)
            on_lapse(lease)
        return revived

    async def _ask(
        self, renew: Callable[[str, str, int, float], Awaitable[bool]], lease: Lease, timeout: float
    ) -> bool | None:
        """Return whether the lease is still held; None if the store does not answer."""
        requested_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(timeout):
                renewed = await renew(lease.name, lease.owner, lease.epoch, self._ttl)
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
