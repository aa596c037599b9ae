"""A queue or topic that is asked beside the source that reads it: nothing of that one is changed.

To open the source itself would take the queue over: a broker has one consumer of a name, or one session of a client.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Literal

from services.system_api.sources.queue.message import Broker, RewindableConnection
from services.system_api.sources.source import Batch, Checkpoint
from shared.errors import Malformed


class QueueInquiry:
    """A `Source` that answers questions, and reads nothing."""

    def __init__(self, log: RewindableConnection | None) -> None:
        self._log = log

    @classmethod
    @asynccontextmanager
    async def opened(cls, broker: Broker) -> AsyncIterator["QueueInquiry"]:
        """Connect for as long as the context lasts. Raises what `Broker.looking` does."""
        async with broker.looking() as log:
            yield cls(log)

    async def poll(self, _limit: int, /) -> Batch:
        """Return nothing."""
        return Batch()

    async def wait_for_change(self) -> None:
        """Wait: there is none."""
        await asyncio.Event().wait()

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint of a place; see `Rewinding`."""
        return await checkpoint_of(self._log, place)


async def checkpoint_of(log: object, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
    """Return the checkpoint of a place in a log; see `Rewinding`.

    The beginning of a queue, whose messages are gone once they are published, forgets which they were.
    """
    if isinstance(log, RewindableConnection):
        return await log.checkpoint_at(place)
    if place == "beginning":
        return {}
    raise Malformed("a queue keeps no message that is published; expected beginning or a position")
