"""Batches on their way to the bus: handed over one while another commits, and settled in their order."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from services.process_api.worker.batch import Batch
from shared.bus.protocol import Transaction, Writer
from shared.runtime import failpoints

Settled = Callable[[Batch, float], None]
"""Told of each batch that is visible, and when its first record was read."""


class _UnderWay(NamedTuple):
    batch: Batch
    began: float
    done: Awaitable[None]


class Commits:
    """The transactions of one writer."""

    def __init__(self, writer: Writer, settled: Settled) -> None:
        self._writer = writer
        self._settled = settled
        self._handing_over: Batch | None = None
        self._under_way: deque[_UnderWay] = deque()
        self._news = asyncio.Event()

    @property
    def span(self) -> tuple[int, int]:
        """The offsets of the first and the last record of which it is not known that they are done with.

        Only to be asked after an error: there is such a record then.
        """
        batches = [one.batch for one in self._under_way]
        if self._handing_over is not None:
            batches.append(self._handing_over)
        return batches[0].first, batches[-1].last

    async def submit(self, batch: Batch, transaction: Transaction, began: float) -> None:
        """Hand over a batch; return when the next one may be filled.

        Raises what `Writer.submit` does, for an earlier batch, too; then `span` tells which they may be about.
        """
        self._handing_over = batch
        failpoints.reach("process.before-submit")
        done = await self._writer.submit(transaction)
        failpoints.reach("process.after-submit")
        self._under_way.append(_UnderWay(batch, began, done))
        self._handing_over = None
        self._news.set()

    async def follow(self) -> None:
        """Settle batches as they become visible, for ever; raises what `submit` does, as soon as it is known."""
        while True:
            await self.drain()
            self._news.clear()
            await self._news.wait()

    async def drain(self) -> None:
        """Return when all that was handed over is visible. Raises what `submit` does."""
        while self._under_way:
            oldest = self._under_way[0]
            # Whoever waits may be cancelled; the commit must not be.
            await asyncio.shield(oldest.done)
            if self._under_way and self._under_way[0] is oldest:
                self._under_way.popleft()
                self._settled(oldest.batch, oldest.began)
