"""Holding a lease: waiting for it, renewing it behind the scenes, and saying in time that it is lost."""

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
"""Seconds a lease outlives its owner: the others wait so long for a dead one."""

_RENEWALS = 3
"""Renewals in one ttl: two may fail before the lease is lost."""
_MARGIN = 1 / 6
"""The share of the ttl before its end at which the owner must have stopped."""
_RETRIES = 24
"""Tries in one ttl while the store does not answer."""


class Lease:
    """A lease that is ours until it is lost."""

    def __init__(self, name: str, owner: str, epoch: int, clock: Clock) -> None:
        self.name = name
        self.owner = owner
        self.epoch = epoch
        self._clock = clock
        self._good_until = 0.0
        self._lost = asyncio.Event()

    @property
    def held(self) -> bool:
        """Whether it is ours for sure, now; needs no running event loop to become false."""
        return not self._lost.is_set() and self.remaining > 0

    @property
    def remaining(self) -> float:
        """Seconds for which it is ours for sure, unless it is renewed."""
        return self._good_until - self._clock.monotonic()

    async def lost(self) -> None:
        """Return once somebody else may soon have it; there is a margin in which to stop."""
        await self._lost.wait()

    def extend(self, good_until: float) -> None:
        """Note a renewal; in the clock's monotonic seconds."""
        self._good_until = good_until

    def lose(self) -> None:
        """Note that it is gone."""
        self._lost.set()


class Leases:
    """The leases of one replica."""

    def __init__(self, store: LeaseStore, owner: str, *, ttl: float = TTL, clock: Clock = SYSTEM_CLOCK) -> None:
        """`owner` is unique among living replicas; the same after a restart gets its leases back at once."""
        self._store = store
        self._owner = owner
        self._ttl = ttl
        self._clock = clock
        self._put_out: set[str] = set()
        """Leases that were refused to us while we held them."""

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[Lease]:
        """Wait until `name` is free and take it; leaving gives it back at once.

        One that a newer process of the same owner took from us is not taken back while that one lives: it is the
        restart of this one, or its unwanted twin.

        The body is not interrupted when the lease is lost: it watches `lost()` and `held`.

        Raises:
            Unavailable: the store does not answer.
        """
        # As a stranger where we were put out: else two of one name would take it from one another for ever.
        owner = f"{self._owner} (put out)" if name in self._put_out else self._owner
        lease = await self._acquire(name, owner)
        self._put_out.discard(name)
        async with Tasks() as tasks:
            renewing = tasks.start(f"renewing lease {name}", self._keep(lease))
            try:
                yield lease
            finally:
                held = lease.held
                await cancelled(renewing)
                if held:
                    await self._release(lease)

    async def _acquire(self, name: str, owner: str) -> Lease:
        # Watched before the first try, so that a release in between is not missed.
        with self._store.freed(name) as freed:
            while True:
                freed.clear()
                began = self._clock.monotonic()
                answer = await self._store.acquire(name, owner, self._ttl)
                if isinstance(answer, Granted):
                    lease = Lease(name, owner, answer.epoch, self._clock)
                    lease.extend(self._end(began))
                    return lease
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(max(answer.expires_in, 0.01), self._ttl)):
                        await freed.wait()

    def _end(self, asked_at: float) -> float:
        """Return until when a lease is good that was granted or renewed upon a question asked then.

        The store counts from when it answered, which is later: we stop early rather than late.
        """
        return asked_at + self._ttl * (1 - _MARGIN)

    async def _keep(self, lease: Lease) -> None:
        """Renew until that fails; whatever ends this, the lease counts as lost from then on."""
        pause = self._ttl / _RENEWALS
        try:
            while True:
                await self._clock.sleep(min(pause, max(lease.remaining, 0)))
                if lease.remaining <= 0:
                    logger.error("lease %s is lost: it could not be renewed in time", lease.name)
                    return
                renewed = await self._renew(lease)
                if renewed is False:
                    self._put_out.add(lease.name)
                    logger.error("lease %s is lost: another owner has it, or it expired", lease.name)
                    return
                pause = self._ttl / (_RETRIES if renewed is None else _RENEWALS)
        finally:
            lease.lose()

    async def _renew(self, lease: Lease) -> bool | None:
        """Return whether it is still ours; None where nobody can tell now."""
        asked_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(lease.remaining):
                renewed = await self._store.renew(lease.name, lease.owner, lease.epoch, self._ttl)
        except (Unavailable, TimeoutError) as exc:
            logger.debug("lease %s is not renewed yet: %s", lease.name, str(exc) or "no answer")
            return None
        if renewed:
            lease.extend(self._end(asked_at))
        return renewed

    async def _release(self, lease: Lease) -> None:
        try:
            async with asyncio.timeout(lease.remaining):
                await self._store.release(lease.name, lease.owner, lease.epoch)
        except (Unavailable, TimeoutError) as exc:
            logger.warning("lease %s is left to expire: %s", lease.name, str(exc) or "no answer")
