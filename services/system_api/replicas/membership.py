"""Shares the sources between the replicas: no replica coordinates, each takes and releases its own share.

A replica that is alive holds the lease `system/<node>`, and the lease of each source that it runs. It looks at all of
these every second, and when one is released; `assignment` decides what it does. Two replicas that see different things
for a moment cannot run one source: its lease and the writer of its name prevent that.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

from services.system_api.replicas.assignment import share_of
from shared.errors import Unavailable
from shared.lease import Lease, Leases, LeaseStore
from shared.runtime.clock import Clock
from shared.runtime.tasks import Tasks

logger = logging.getLogger(__name__)

SOURCES, REPLICAS = "source/", "system/"
"""The prefixes of the leases."""
_INTERVAL = 1.0
"""Seconds between two looks: a replica that joins or dies notifies nobody."""
_PAUSE = 0.5
_PATIENCE = 20.0
"""Seconds that the bus may not work for this replica until it leaves its sources to others, for which it may work."""


class Turn:
    """Whether this replica should run one source."""

    def __init__(self, *, granted: bool = False) -> None:
        self._granted, self._revoked = asyncio.Event(), asyncio.Event()
        self.set(granted=granted)

    @property
    def mine(self) -> bool:
        """Whether this replica should run it."""
        return self._granted.is_set()

    def set(self, *, granted: bool) -> None:
        """Decide it."""
        set_, unset = (self._granted, self._revoked) if granted else (self._revoked, self._granted)
        unset.clear()
        set_.set()

    async def granted(self) -> None:
        """Return when this replica should run it."""
        await self._granted.wait()

    async def revoked(self) -> None:
        """Return when this replica should not run it."""
        await self._revoked.wait()


class Replicas:
    """This replica among all of them."""

    def __init__(
        self,
        node: str,
        sources: Iterable[str],
        store: LeaseStore,
        leases: Leases,
        bus_problem: Callable[[], str | None],
        clock: Clock,
    ) -> None:
        """`bus_problem` returns why the bus does not work for this replica, None while it does."""
        self._node = node
        self._store = store
        self._leases = leases
        self._bus_problem = bus_problem
        self._clock = clock
        self._turns = {source: Turn() for source in sources}
        self._fields: dict[str, object] = {"component": "replicas", "node": node}

    def turn(self, source: str) -> Turn:
        """Return the turn of a source."""
        return self._turns[source]

    async def run(self) -> None:
        """Take part until cancelled."""
        while True:
            try:
                await self._until_the_bus_works()
                async with self._leases.hold(f"{REPLICAS}{self._node}") as lease:
                    await self._take_part(lease)
            except Unavailable as exc:
                logger.debug("cannot take part in sharing sources", extra=self._fields | {"error": str(exc)})
            finally:
                self._grant(())
            await self._clock.sleep(_PAUSE)

    async def _until_the_bus_works(self) -> None:
        while self._bus_problem() is not None:
            await self._clock.sleep(_PAUSE)

    async def _take_part(self, lease: Lease) -> None:
        """Keep the share of this replica until its lease is lost, or the bus does not work for it."""
        async with Tasks() as tasks:
            lost = tasks.start(f"lease of replica {self._node}", lease.lost())
            worked_at = self._clock.monotonic()
            with self._store.watch(SOURCES) as changed:
                while not lost.done():
                    changed.clear()
                    now = self._clock.monotonic()
                    problem = self._bus_problem()
                    worked_at = now if problem is None else worked_at
                    if now - worked_at > _PATIENCE:
                        logger.warning("leaving sources to other replicas", extra=self._fields | {"error": problem})
                        return
                    with suppress(Unavailable):  # what is granted stays so, for as long as the leases are held
                        await self._look()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_INTERVAL):
                            await changed.wait()

    async def _look(self) -> None:
        owners = {held.name.removeprefix(SOURCES): held.owner for held in await self._store.held(SOURCES)}
        alive = [held.name.removeprefix(REPLICAS) for held in await self._store.held(REPLICAS)]
        share = share_of(self._node, alive, owners, self._turns.keys())
        if share.release:
            fields = {"released": sorted(share.release), "replicas": len({*alive, *owners.values()})}
            logger.info("releasing sources to other replicas", extra=self._fields | fields)
        self._grant(share.keep)

    def _grant(self, sources: Collection[str]) -> None:
        for source, turn in self._turns.items():
            if turn.mine != (source in sources):
                turn.set(granted=source in sources)
