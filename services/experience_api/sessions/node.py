"""This replica as a node of the registry: its name, and the lease under which its connections are claimed."""

import asyncio
import logging
from collections.abc import Callable

from services.experience_api.refusals import UNAVAILABLE, Refused
from services.experience_api.registry.protocol import Node
from shared.errors import Unavailable
from shared.lease import Lease, Leases
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds between two attempts to acquire the lease."""


class NodeLease:
    """Holds the lease `node/<name>`. Connections may be claimed while it is held."""

    def __init__(self, leases: Leases, name: str, clock: Clock, report: Callable[[str | None], None]) -> None:
        """`report` receives what is wrong, and None if nothing is."""
        self.name = name
        self._leases = leases
        self._clock = clock
        self._report = report
        self._lease: Lease | None = None

    def current(self) -> Node:
        """Return the node while its lease is held.

        Raises:
            Refused: `UNAVAILABLE`: the lease is not held.
        """
        if self._lease is None or not self._lease.held:
            raise Refused(UNAVAILABLE, retry_after=_PAUSE)
        return Node(self.name, self._lease.epoch)

    async def run(self, on_lost: Callable[[], None], on_revived: Callable[[], None] = lambda: None) -> None:
        """Hold the lease until cancelled, then release it. A lost lease is acquired again under another epoch.

        While the database does not answer, the lease lapses: what was claimed stays claimed unless another replica
        claims it, which needs the database. `on_revived` is called once the lease is held again, to find out what was
        claimed. `on_lost` is called when another process has the lease, so that all claims are void.
        """
        while True:
            try:
                await self._hold(on_lost, on_revived)
            except Unavailable as exc:
                self._report(str(exc))
                await self._clock.sleep(_PAUSE)

    async def _hold(self, on_lost: Callable[[], None], on_revived: Callable[[], None]) -> None:
        def on_lapse(lease: Lease) -> None:
            self._report(None if lease.held else "the lease of this replica has lapsed: the database does not answer")
            if lease.held:
                on_revived()

        async with self._leases.hold(f"node/{self.name}", on_lapse) as lease:
            self._lease = lease
            self._report(None)
            try:
                await lease.lost()
                self._report("the lease of this replica is lost")
            except asyncio.CancelledError:
                # A service that stops has closed its connections by now, or has no time left for that.
                self._lease = None
                raise
            self._lease = None
            on_lost()
