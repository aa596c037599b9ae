"""This replica as the others know it: a name, and a lease under which its connections are claimed."""

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
"""Seconds between two tries to get the lease while nobody answers."""


class NodeLease:
    """Keeps the lease `node/<name>`; connections may be claimed while it is held."""

    def __init__(self, leases: Leases, name: str, clock: Clock, report: Callable[[str | None], None]) -> None:
        """`report` is told what is wrong, None if nothing."""
        self.name = name
        self._leases = leases
        self._clock = clock
        self._report = report
        self._lease: Lease | None = None

    def current(self) -> Node:
        """Return the node, alive for now.

        Raises:
            Refused: `UNAVAILABLE`: the lease is not held.
        """
        if self._lease is None or not self._lease.held:
            raise Refused(UNAVAILABLE, retry_after=_PAUSE)
        return Node(self.name, self._lease.epoch)

    async def keep(self, lost: Callable[[], None]) -> None:
        """Hold the lease for ever: lost, it is taken anew, under another epoch; cancelled, it is given back.

        `lost` is called when what was claimed under it may be claimed elsewhere.
        """
        while True:
            try:
                await self._hold(lost)
            except Unavailable as exc:
                self._report(str(exc))
                await self._clock.sleep(_PAUSE)

    async def _hold(self, lost: Callable[[], None]) -> None:
        async with self._leases.hold(f"node/{self.name}") as lease:
            self._lease = lease
            self._report(None)
            try:
                await lease.lost()
                self._report("the lease of this replica is lost")
            except asyncio.CancelledError:
                # Whoever stops the service has closed the connections by now, or has no time left for that.
                self._lease = None
                raise
            self._lease = None
            lost()
