"""From batches to transactions: events, rejects and the checkpoint of a batch become visible together or not at all."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from services.system_api.operations.checkpoints import PART, OwnPart, checkpoint_key
from services.system_api.sources.source import Batch
from shared.bus.protocol import IN_FLIGHT, Transaction, Writer
from shared.bus.topics import TopicsOptions
from shared.bus.transaction_queue import PendingTransactions
from shared.errors import TrelayError, Unavailable
from shared.runtime import failpoints
from shared.runtime.clock import Clock

Settle = Callable[[Batch, OwnPart, float], Awaitable[None]]
"""Called once a batch is committed, with what was saved beside it, and the seconds that took."""


class BusUnavailable(TrelayError):
    """The bus is unavailable. Not an `Unavailable`: that means that an upstream is unavailable."""


@contextmanager
def bus_errors() -> Iterator[None]:
    """Raise `BusUnavailable` for an unavailable bus."""
    try:
        yield
    except Unavailable as exc:
        raise BusUnavailable(str(exc)) from exc


def checked(batch: object) -> Batch:
    """Return what a poll returned.

    Raises:
        TypeError: it is no batch, or its checkpoint is not of bytes: nothing of it could be published.
    """
    if not isinstance(batch, Batch):
        raise TypeError(f"poll() returned {type(batch).__name__}; expected a Batch")
    checkpoint: Mapping[Any, Any] = batch.checkpoint
    for part, value in checkpoint.items():
        if not isinstance(part, str) or not isinstance(value, bytes | None):
            found = f"{type(part).__name__}: {type(value).__name__}"
            raise TypeError(f"poll() returned a checkpoint with {found}; expected str: bytes or None")
    return batch


def compose(source: str, destination: str, topics: TopicsOptions, batch: Batch, own: OwnPart) -> Transaction:
    """Return the transaction that publishes a batch to the topic `destination` and saves its checkpoint."""
    transaction = Transaction()
    if batch.records:
        transaction.records[destination] = batch.records
    if batch.rejects:
        transaction.records[topics.dead_letter] = [reject.record() for reject in batch.rejects]
    for part, value in batch.checkpoint.items():
        transaction.append(topics.checkpoints, checkpoint_key(source, part), value)
    transaction.append(topics.checkpoints, checkpoint_key(source, PART), own.save())
    return transaction


class _Submitted(NamedTuple):
    batch: Batch
    own: OwnPart
    began: float


class Publisher:
    """Submits batches to the bus, and settles each one after its commit, in order."""

    def __init__(
        self, source: str, destination: str, topics: TopicsOptions, writer: Writer, settle: Settle, clock: Clock
    ) -> None:
        """`destination` is the topic of the source's events."""
        self._source = source
        self._destination = destination
        self._topics = topics
        self._settle = settle
        self._clock = clock
        self._pending = PendingTransactions[_Submitted](writer, self._committed, bus_errors)

    @property
    def unsettled(self) -> list[Batch]:
        """The batches that were submitted and are not settled, oldest first."""
        return [submitted.batch for submitted in self._pending.unsettled]

    async def submit(self, batch: Batch, own: OwnPart) -> None:
        """Submit a batch, counted in `own`; return when the next one may be filled, while this one still commits.

        Raises (also for an earlier batch):
            BusUnavailable, Fenced, TooLarge: as `Writer.submit`; open a new writer and resume from the checkpoint.
        """
        began = self._clock.monotonic()
        transaction = compose(self._source, self._destination, self._topics, batch, own)
        failpoints.reach("system.before-submit")
        await self._pending.submit(_Submitted(batch, own, began), transaction)
        failpoints.reach("system.after-submit")
        # The writer has no more than this in flight, so older transactions are committed: nothing waits here.
        await self._pending.drain(IN_FLIGHT)

    async def drain(self) -> None:
        """Wait until everything is committed and settled. Raises what `submit` raises."""
        await self._pending.drain()

    async def _committed(self, submitted: _Submitted) -> None:
        failpoints.reach("system.before-settle")
        await self._settle(submitted.batch, submitted.own, self._clock.monotonic() - submitted.began)
