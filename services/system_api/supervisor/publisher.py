"""From batches to transactions: events, rejects and the checkpoint of a batch become visible together or not at all."""

import dataclasses
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from services.system_api.delivery.direct import DeliverableTransaction
from services.system_api.delivery.sender import RefusedEvent
from services.system_api.operations.checkpoints import PART, OwnPart, checkpoint_key
from services.system_api.sources.source import Batch
from shared.bus.protocol import IN_FLIGHT, Outgoing, Transaction, Writer
from shared.bus.topics import TopicsOptions
from shared.bus.transaction_queue import PendingTransactions
from shared.errors import TrelayError, Unavailable
from shared.events.dead_letter import KEPT_BYTES, Reject
from shared.events.headers import PROVENANCE, unpack_provenance
from shared.runtime import failpoints
from shared.runtime.clock import Clock

Settle = Callable[[Batch, OwnPart, float], Awaitable[None]]
"""Called once a batch is committed, with what was saved beside it, and the seconds that took."""


REFUSED = "entity"
"""The stage of a reject that `POST /entity` refused."""


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


def put_aside(batch: Batch, refused: Mapping[int, RefusedEvent]) -> Batch:
    """Return a batch with the events at these indexes turned into rejects."""
    if not refused:
        return batch
    kept = [record for index, record in enumerate(batch.records) if index not in refused]
    rejects = [_reject(batch.records[index], event) for index, event in sorted(refused.items())]
    return dataclasses.replace(batch, records=kept, rejects=[*batch.rejects, *rejects])


def _reject(record: Outgoing, event: RefusedEvent) -> Reject:
    identity, value = unpack_provenance(dict(record.headers)[PROVENANCE]).id, record.value or b""
    error = event.reason
    if event.too_large and len(value) > KEPT_BYTES:
        error = f"{error} (of its {len(value)} bytes the first {KEPT_BYTES} are kept)"
        value = value[:KEPT_BYTES]
    return Reject(identity, value, error, REFUSED, f"source:{identity}")


@dataclasses.dataclass(slots=True)
class _Submitted:
    batch: Batch
    own: OwnPart
    began: float


class Publisher:
    """Submits batches to the bus, and settles each one after its commit, in order."""

    def __init__(
        self,
        source: str,
        destination: str,
        topics: TopicsOptions,
        writer: Writer,
        settle: Settle,
        clock: Clock,
        owned: Callable[[], bool],
    ) -> None:
        """`destination` is the topic of the source's events; `owned` as in `DeliverableTransaction`."""
        self._source = source
        self._destination = destination
        self._topics = topics
        self._settle = settle
        self._clock = clock
        self._owned = owned
        self._pending = PendingTransactions[_Submitted](writer, self._committed, bus_errors)
        self._refused = 0
        """Events of all batches that were refused; the counts of a batch are made before that of the one before it."""

    @property
    def unsettled(self) -> list[Batch]:
        """The batches that were submitted and are not settled, oldest first."""
        return [submitted.batch for submitted in self._pending.unsettled]

    async def submit(self, batch: Batch, own: OwnPart) -> None:
        """Submit a batch, counted in `own`; return when the next one may be filled, while this one still commits.

        Raises (also for an earlier batch):
            BusUnavailable, Fenced, TooLarge: as `Writer.submit`; open a new writer and resume from the checkpoint.
        """
        submitted = _Submitted(batch, own, self._clock.monotonic())
        transaction = DeliverableTransaction(self._compose(submitted).records)
        transaction.owned, transaction.conclude = self._owned, partial(self._conclude, submitted)
        if batch.records and batch.begun:
            transaction.begun = Transaction()
            for part, value in batch.begun.items():
                transaction.begun.append(self._topics.checkpoints, checkpoint_key(self._source, part), value)
        failpoints.reach("system.before-submit")
        await self._pending.submit(submitted, transaction)
        failpoints.reach("system.after-submit")
        # The writer has no more than this in flight, so older transactions are committed: nothing waits here.
        await self._pending.drain(IN_FLIGHT)

    async def drain(self) -> None:
        """Wait until everything is committed and settled. Raises what `submit` raises."""
        await self._pending.drain()

    def _compose(self, submitted: _Submitted) -> Transaction:
        return compose(self._source, self._destination, self._topics, submitted.batch, submitted.own)

    def _conclude(self, submitted: _Submitted, refused: Mapping[int, RefusedEvent]) -> Mapping[str, list[Outgoing]]:
        """Return what is to be committed of a batch, some of whose events were refused."""
        self._refused += len(refused)
        submitted.batch = put_aside(submitted.batch, refused)
        submitted.own = submitted.own.refused(self._refused)
        return self._compose(submitted).records

    async def _committed(self, submitted: _Submitted) -> None:
        failpoints.reach("system.before-settle")
        await self._settle(submitted.batch, submitted.own, self._clock.monotonic() - submitted.began)
