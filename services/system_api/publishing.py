"""From batches to transactions: events, rejects and the checkpoint of a batch become visible together or not at all."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from services.system_api.source import Batch
from shared import failpoints
from shared.bus.protocol import IN_FLIGHT, Transaction, Writer
from shared.bus.topics import TopicsOptions
from shared.clock import Clock
from shared.errors import TrelayError, Unavailable

Settle = Callable[[Batch, float], Awaitable[None]]
"""What follows once a batch is visible; the second is how many seconds that took."""


class BusAway(TrelayError):
    """The bus does not answer. No `Unavailable`: that is what a source raises, and the upstream is not at fault."""


@contextmanager
def bus_errors() -> Iterator[None]:
    """Tell the bus's absence from the source's."""
    try:
        yield
    except Unavailable as exc:
        raise BusAway(str(exc)) from exc


def checkpoint_key(source: str, part: str) -> bytes:
    """Return the key under which a part of a source's checkpoint is kept."""
    return f"{source}/{part}".encode() if part else source.encode()


def checkpoint_part(source: str, key: bytes) -> str:
    """Return the part that is kept under a key; the other way round of `checkpoint_key`."""
    return key.decode()[len(source) + 1 :]


def compose(source: str, destination: str, topics: TopicsOptions, batch: Batch) -> Transaction:
    """Return the transaction that publishes a batch to the topic `destination` and saves its place."""
    transaction = Transaction()
    if batch.records:
        transaction.records[destination] = batch.records
    if batch.rejects:
        transaction.records[topics.dead_letter] = [reject.record() for reject in batch.rejects]
    for part, value in batch.checkpoint.items():
        transaction.append(topics.checkpoints, checkpoint_key(source, part), value)
    return transaction


class _UnderWay(NamedTuple):
    batch: Batch
    began: float
    done: Awaitable[None]


class Publisher:
    """Hands batches to the bus, and settles each once it is visible, in their order."""

    def __init__(
        self, source: str, destination: str, topics: TopicsOptions, writer: Writer, settle: Settle, clock: Clock
    ) -> None:
        """`destination` is the topic of the source's events."""
        self._source = source
        self._destination = destination
        self._topics = topics
        self._writer = writer
        self._settle = settle
        self._clock = clock
        self._under_way: deque[_UnderWay] = deque()

    @property
    def under_way(self) -> list[Batch]:
        """What was handed over and is not known to be visible."""
        return [one.batch for one in self._under_way]

    async def submit(self, batch: Batch) -> None:
        """Hand over a batch; return when the next one may be filled, while this one still commits.

        Raises (also for an earlier batch):
            BusAway, Fenced, TooLarge: as `Writer.submit`; open another writer and go on from the checkpoint.
        """
        began = self._clock.monotonic()
        transaction = compose(self._source, self._destination, self._topics, batch)
        failpoints.reach("system.before-submit")
        with bus_errors():
            done = await self._writer.submit(transaction)
        self._under_way.append(_UnderWay(batch, began, done))
        failpoints.reach("system.after-submit")
        # The writer takes no more than this at once, so what is older has been committed: nothing waits here.
        while len(self._under_way) > IN_FLIGHT:
            await self._finish_oldest()

    async def drain(self) -> None:
        """Wait until everything is visible and settled. Raises what `submit` does."""
        while self._under_way:
            await self._finish_oldest()

    async def _finish_oldest(self) -> None:
        oldest = self._under_way[0]
        with bus_errors():
            # A stop that cancels this wait waits once more, for the commit itself must not be cancelled by it.
            await asyncio.shield(oldest.done)
        self._under_way.popleft()
        failpoints.reach("system.before-settle")
        await self._settle(oldest.batch, self._clock.monotonic() - oldest.began)
