"""Finds the revocations of connections here that the notifications of the database have missed.

Notifications are fast and can be lost: a connection that breaks without a sign, or a pool in between that does not
support LISTEN. What a write takes away is stored beside its notification, so a short look finds it within a second.
"""

from collections.abc import Callable

from services.experience_api.refusals import Refused
from services.experience_api.registry.notices import Notice
from services.experience_api.registry.protocol import Registry
from services.experience_api.sessions.node import NodeLease
from shared.errors import Unavailable
from shared.runtime.clock import Clock


class Revocations:
    """Looks into the registry at an interval."""

    def __init__(
        self,
        registry: Registry,
        node: NodeLease,
        on_notice: Callable[[Notice | None], None],
        interval: float,
        clock: Clock,
    ) -> None:
        """`on_notice` receives what is found; None: any number of notices may have been missed."""
        self._registry = registry
        self._node = node
        self._on_notice = on_notice
        self._interval = interval
        self._clock = clock
        self._missed = False

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._clock.sleep(self._interval)
            await self.look()

    async def look(self) -> None:
        """Pass on what was revoked since the last look."""
        try:
            node = self._node.current()
            await self._registry.end_overlaps()
            found: list[Notice | None] = [*await self._registry.take_notices(node)]
        except Refused:
            return  # without its lease, this replica has no claims: `NodeLease` reports that
        except Unavailable:
            self._missed = True  # notices may have been taken by the statement whose response was lost
            return
        if self._missed:
            self._missed = False
            found.append(None)
        for notice in found:
            self._on_notice(notice)
