"""Batches on their way to the bus: handed over one while another commits, and settled in their order."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from services.process_api.state.partition_state import PartitionState
from services.process_api.worker.batch import Batch
from shared.bus.protocol import Transaction, Writer
from shared.bus.transaction_queue import PendingTransactions
from shared.runtime import failpoints

Settled = Callable[[Batch, float], None]
"""Called with each batch that became visible, and the time at which its first record was read."""


class _Submitted(NamedTuple):
    batch: Batch
    began: float


class Commits:
    """The transactions of one writer."""

    def __init__(self, writer: Writer, settled: Settled, state: PartitionState | None = None) -> None:
        """`state` was sealed with each transaction."""
        self._settled = settled
        self._state = state
        self._pending = PendingTransactions[_Submitted](writer, self._committed)
        self._news = asyncio.Event()

    @property
    def span(self) -> tuple[int, int]:
        """The offsets of the first and the last record of which it is not known that they are done with.

        Only to be asked after an error: there is such a record then.
        """
        unsettled = self._pending.unsettled
        return unsettled[0].batch.first, unsettled[-1].batch.last

    async def submit(self, batch: Batch, transaction: Transaction, began: float) -> None:
        """Hand over a batch; return when the next one may be filled.

        Raises what `Writer.submit` does, for an earlier batch, too; then `span` tells which they may be about.
        """
        failpoints.reach("process.before-submit")
        await self._pending.submit(_Submitted(batch, began), transaction)
        failpoints.reach("process.after-submit")
        self._news.set()

    async def follow(self) -> None:
        """Settle batches as they become visible, without end; raises what `submit` does, as soon as it is known."""
        while True:
            await self.drain()
            self._news.clear()
            await self._news.wait()

    async def drain(self) -> None:
        """Return when all that was handed over is visible. Raises what `submit` does."""
        await self._pending.drain()

    async def _committed(self, submitted: _Submitted) -> None:
        if self._state is not None:
            await self._state.settle()
        self._settled(submitted.batch, submitted.began)
