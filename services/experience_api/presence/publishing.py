"""Publishes what the database has noted of connections, on the one replica that holds the lease for it.

The events of a connection have keys, as pushes with an idempotency key have (`producers/once`): whatever is killed at
whatever moment, and also if two replicas believe that they hold the lease, each is published once.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from services.experience_api.presence.options import PresenceOptions
from services.experience_api.presence.sessions import Noted, guarded
from services.experience_api.presence.store import Nodes, PresenceStore
from services.experience_api.producers.once.appender import OnceAppender
from services.experience_api.refusals import Refused
from shared.database.options import DatabaseOptions
from shared.database.pool import ConnectionPool
from shared.errors import TrelayError
from shared.lease import Lease, Leases
from shared.runtime.clock import Clock
from shared.runtime.failpoints import reach

logger = logging.getLogger(__name__)

LEASE = "presence"
_KEYS_KEPT = 600.0
"""Seconds for which keys are kept, of the limit that pushes share. By then no replica can publish what it took before
they were published: the writers of a replica without a lease are fenced within a minute."""
_AT_ONCE = 500
_INTERVAL = 0.5
"""Seconds between two looks at what was noted."""
_PAUSE = 1.0
_BEGIN_INTERVAL = 3600.0
_RELEASE_INTERVAL = 60.0
"""Seconds after which claims of dead replicas are looked for in any case, which reads all connections."""
_LOCKED = 5.0
"""Seconds for which they are looked for again: consumers that another statement has locked are passed by."""


class NotedConnections(Protocol):
    """What was noted of connections; see `PresenceStore`."""

    async def begin(self) -> None: ...
    async def noted(self, limit: int) -> Sequence[Noted]: ...
    async def forget(self, noted: Sequence[Noted]) -> None: ...
    async def nodes(self, after: float) -> Nodes: ...
    async def drop_keys(self, digests: Sequence[bytes]) -> None: ...


class Presence:
    """Publishes for as long as `run` runs."""

    def __init__(
        self,
        leases: Leases,
        once: Callable[[], OnceAppender],
        release_dead: Callable[[float], Awaitable[object]],
        options: PresenceOptions,
        clock: Clock,
        lease_seconds: float,
    ) -> None:
        """`once` returns the appender to the publish topic, and raises `Refused` while there is none.

        `release_dead` ends the claims of replicas whose leases have ended so many seconds ago. `lease_seconds` is how
        long those leases last.
        """
        self._leases = leases
        self._once = once
        self._release_dead = release_dead
        self._options = options
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._failing = False
        self._nodes: Nodes | None = None
        """The leases of replicas at the last look."""
        self._release_until = self._release_again = 0.0
        self._keys: deque[tuple[float, list[bytes]]] = deque()
        """Of what this replica has published, and when."""

    async def run_on(self, database: DatabaseOptions, migrated: Callable[[], Awaitable[None]]) -> None:
        """Publish what a database has noted, until cancelled; `migrated` returns once it has its tables."""
        await migrated()
        async with ConnectionPool.opened(database, size=1, purpose="presence") as pool:
            await self.run(PresenceStore(pool))

    async def run(self, store: NotedConnections) -> None:
        """Publish what a store has noted, until cancelled, whenever this replica holds the lease."""
        while True:
            try:
                async with self._leases.hold(LEASE) as lease:
                    await self._publish_while(lease, store)
            except (TrelayError, Refused) as exc:
                self._report(exc)
            await self._clock.sleep(_PAUSE)

    async def _publish_while(self, lease: Lease, store: NotedConnections) -> None:
        await store.begin()
        # After an outage of the database, all replicas have had the time to renew their leases.
        release_at = self._clock.monotonic() + self._lease_seconds
        begin_at = self._clock.monotonic() + _BEGIN_INTERVAL
        while lease.held:
            if self._clock.monotonic() >= release_at:
                await self._release(store)
                release_at = self._clock.monotonic() + _PAUSE
            if self._clock.monotonic() >= begin_at:
                await store.begin()
                begin_at = self._clock.monotonic() + _BEGIN_INTERVAL
            if not await self._publish(store):
                await self._clock.sleep(_INTERVAL)

    async def _release(self, store: NotedConnections) -> None:
        """Release the claims of dead replicas, when a lease has begun or ended, and once a minute."""
        nodes, now = await store.nodes(self._options.left_after), self._clock.monotonic()
        if nodes != self._nodes:
            self._nodes, self._release_until = nodes, now + _LOCKED
        if now <= self._release_until or now >= self._release_again:
            await self._release_dead(self._options.left_after)
            self._release_again = now + _RELEASE_INTERVAL

    async def _publish(self, store: NotedConnections) -> bool:
        """Publish what was noted first; return whether there was any."""
        noted = await store.noted(_AT_ONCE)
        if noted:
            events = [guarded(each) for each in noted]
            await self._once().append(events)
            reach("presence.published")
            await store.forget(noted)
            self._keys.append((self._clock.monotonic(), [each.key.digest for each in events]))
        while self._keys and self._clock.monotonic() - self._keys[0][0] > _KEYS_KEPT:
            await store.drop_keys(self._keys[0][1])
            self._keys.popleft()
        if self._failing:
            self._failing = False
            logger.info("presence published again", extra={"component": "presence"})
        return bool(noted)

    def _report(self, exc: TrelayError | Refused) -> None:
        if not self._failing:
            self._failing = True
            fields = {"component": "presence", "error": str(exc)}
            logger.warning("presence not published; will retry", extra=fields)
