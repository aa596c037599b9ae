"""Publishes the status of the sources that this replica owns, so that every replica can show all of them."""

import logging
from collections.abc import Collection, Mapping
from typing import Any

from services.system_api.operations.store import SharedStatus, SourceStore
from services.system_api.operations.windows import HOUR, HOURS_LIMIT
from services.system_api.supervisor.description import describe
from services.system_api.supervisor.reporting import Reporter
from shared.errors import Unavailable
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_CHECK_INTERVAL = 0.5
_INTERVAL = 5.0
"""Seconds between two publications of one source whose state is the same."""
_RETRY_INTERVAL = 2.0
_KEPT = (HOURS_LIMIT + 24) * HOUR
"""Seconds for which the counts of each hour are kept: longer than they are shown, because those of the first hour are
the difference to the hour before it."""
_DECISIVE = ("state", "error", "problems", "reported")
"""What is published at once when it changes."""


class StatusPublisher:
    """Publishes the statuses of one replica: at changes of state at once, and otherwise every few seconds."""

    def __init__(self, reporters: Collection[Reporter], store: SourceStore, node: str, clock: Clock) -> None:
        self._reporters = reporters
        self._store = store
        self._node = node
        self._clock = clock
        self._forget_at = 0.0
        self._published: dict[str, tuple[Mapping[str, Any], int, float]] = {}
        """By source: what, under which epoch, and when by the monotonic clock."""

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            pause = _CHECK_INTERVAL
            try:
                await self.publish()
            except Unavailable as exc:
                logger.debug("could not publish source statuses", extra={"component": "source", "error": str(exc)})
                pause = _RETRY_INTERVAL
            await self._clock.sleep(pause)

    async def publish(self) -> None:
        """Publish what is due. Raises `Unavailable`."""
        now = self._clock.monotonic()
        due = [shared for reporter in self._reporters if (shared := self._due(reporter, now)) is not None]
        if not due:
            return
        await self._store.publish(due)
        await self._forget_old_windows()
        for shared in due:
            self._published[shared.source] = (shared.status, shared.epoch, now)

    async def _forget_old_windows(self) -> None:
        now = self._clock.time()
        if now >= self._forget_at:
            await self._store.forget_windows(now - _KEPT)
            self._forget_at = now + HOUR

    def _due(self, reporter: Reporter, now: float) -> SharedStatus | None:
        status = reporter.measure()
        if status.epoch is None:
            self._published.pop(status.name, None)
            return None
        described = describe(status, self._clock.time())
        published = self._published.get(status.name)
        if published is not None:
            before, epoch, at = published
            same = epoch == status.epoch and all(before[key] == described[key] for key in _DECISIVE)
            if same and now - at < _INTERVAL:
                return None
        return SharedStatus(status.name, self._node, status.epoch, described)
