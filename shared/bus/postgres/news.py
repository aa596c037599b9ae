"""Telling readers that there is something new: here at once, elsewhere by NOTIFY."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice

from shared.database.watching import Watchers
from shared.errors import Unavailable
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

CHANNEL = "trelay_bus"
"""Where commits are told: who tells it, and the ids of the partitions."""

Say = Callable[[str, str], Awaitable[None]]
"""Sends a payload to a channel; raises `Unavailable` if nobody was told."""

_AT_ONCE = 500
"""Partitions in one notification: a payload has 8,000 bytes at most."""
_BREATH = 0.005
"""Seconds between two notifications of one process: under load one tells of many commits."""


class News:
    """What readers wait on."""

    def __init__(self, sender: str, clock: Clock) -> None:
        """`sender` tells this process from all others."""
        self.partitions: Watchers[int] = Watchers()
        self._sender = sender
        self._clock = clock
        self._unsaid: set[int] = set()
        self._something = asyncio.Event()

    def committed(self, partitions: Iterable[int]) -> None:
        """Wake the readers here, and have those elsewhere woken."""
        partitions = tuple(partitions)
        self.partitions.tell(partitions)
        self._unsaid.update(partitions)
        if self._unsaid:
            self._something.set()

    def hear(self, payload: str | None) -> None:
        """Take a notification of `CHANNEL`, None if any may have been missed."""
        if payload is None:
            self.partitions.tell_all()
            return
        sender, _, partitions = payload.partition(" ")
        if sender != self._sender:
            self.partitions.tell(map(int, partitions.split(",")))

    async def keep_saying(self, say: Say) -> None:
        """Send what there is to tell, for ever."""
        while True:
            await self._something.wait()
            batch = tuple(islice(self._unsaid, _AT_ONCE))
            self._unsaid.difference_update(batch)
            if not self._unsaid:
                self._something.clear()
            try:
                await say(CHANNEL, f"{self._sender} {','.join(map(str, batch))}")
            except Unavailable as exc:
                # Whoever was to be told has lost the server as well, and looks for himself when it is back.
                logger.debug("a commit was not told: %s", exc)
            except Exception:
                logger.exception("a commit was not told")
            await self._clock.sleep(_BREATH)
