"""Tells readers that records were committed: those of this process directly, all others by NOTIFY."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice

from shared.database.watchers import Watchers
from shared.errors import Unavailable
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

CHANNEL = "trelay_bus"
"""The channel of notifications about commits: the sender, and the ids of the partitions."""

SendNotification = Callable[[str, str], Awaitable[None]]
"""Sends a payload to a channel; raises `Unavailable` if it was not sent."""

_PARTITIONS_AT_ONCE = 500
"""Partitions in one notification: a payload has 8,000 bytes at most."""
_INTERVAL = 0.005
"""Seconds between two notifications of one process: under load, one is about many commits."""


class CommitNotifier:
    """Wakes readers after commits."""

    def __init__(self, sender: str, clock: Clock) -> None:
        """`sender` identifies this process."""
        self.partitions: Watchers[int] = Watchers()
        """By the id of a partition."""
        self._sender = sender
        self._clock = clock
        self._unsent: set[int] = set()
        self._pending = asyncio.Event()

    def committed(self, partitions: Iterable[int]) -> None:
        """Wake the readers of this process, and notify the others soon."""
        partitions = tuple(partitions)
        self.partitions.notify(partitions)
        self._unsent.update(partitions)
        if self._unsent:
            self._pending.set()

    def on_notification(self, payload: str | None) -> None:
        """Handle a notification of `CHANNEL`; None: some may have been missed."""
        if payload is None:
            self.partitions.notify_all()
            return
        sender, _, partitions = payload.partition(" ")
        if sender != self._sender:
            self.partitions.notify(map(int, partitions.split(",")))

    async def run(self, send: SendNotification) -> None:
        """Send notifications, without end."""
        while True:
            await self._pending.wait()
            batch = tuple(islice(self._unsent, _PARTITIONS_AT_ONCE))
            self._unsent.difference_update(batch)
            if not self._unsent:
                self._pending.clear()
            try:
                await send(CHANNEL, f"{self._sender} {','.join(map(str, batch))}")
            except Unavailable as exc:
                # The other processes have lost the server as well, and check for records when it is back.
                logger.debug("could not notify readers", extra={"component": "bus", "error": str(exc)})
            except Exception:
                logger.exception("could not notify readers", extra={"component": "bus"})
            await self._clock.sleep(_INTERVAL)
