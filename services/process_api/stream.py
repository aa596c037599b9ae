"""Runs the pipelines over the ingest topic, a partition at a time, exactly once.

    writer      opening it fences an older owner of the partition, so that what is read next is the last word
    committed
    reader      goes on there
    read → run → one transaction of outputs, dead letters and the offset; and again, while that one commits

Whatever fails ends a drive; the bus begins another, which goes on from what is committed.
"""

import asyncio
import contextlib
from collections.abc import Mapping

from services.process_api.batch import Batch
from services.process_api.committing import Commits
from services.process_api.filling import Filler, TransactionOptions
from services.process_api.pace import Pace
from services.process_api.reporting import Reporter
from services.process_api.selection import Selection
from services.process_api.suspects import Attempts, Slow, Suspects
from shared.bus.protocol import Bus, Reader, TopicPartition
from shared.bus.topics import TopicsOptions
from shared.clock import Clock
from shared.errors import Fenced, TooLarge, TrelayError
from shared.tasks import told_to_end

_DRAIN = 2.0
"""Seconds a stop waits for what is being committed, so that less is done twice."""


class Stream:
    """Drives partitions; `drive` is what `Bus.join` is given."""

    def __init__(
        self,
        bus: Bus,
        topics: TopicsOptions,
        selection: Selection,
        options: TransactionOptions,
        reporter: Reporter,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._topics = topics
        self._selection = selection
        self._options = options
        self._report = reporter
        self._clock = clock
        self._pace = Pace()
        self._slow: dict[int, Slow] = {}
        self._attempts: dict[int, Attempts] = {}
        self._readers: dict[int, Reader] = {}
        self.group = f"{topics.prefix}.process"
        """Whose offsets are committed."""

    @property
    def positions(self) -> Mapping[int, int]:
        """Where each partition that is driven here has been read to."""
        return {number: reader.positions[number] for number, reader in self._readers.items()}

    async def drive(self, reader: Reader) -> None:
        """Run one partition; never returns.

        Raises:
            Unavailable: the bus does not answer, or something that a step needs.
            Fenced: a newer owner drives this partition.
            TooLarge: the bus refuses even the dead letter of a record.
        """
        ((number, beginning),) = reader.positions.items()
        suspects = Suspects(self._slow.setdefault(number, {}), self._attempts.setdefault(number, Attempts()))
        self._readers[number] = reader
        try:
            while True:
                await self._live(reader, TopicPartition(reader.topic, number), beginning, suspects)
        finally:
            if self._readers.get(number) is reader:
                del self._readers[number]

    async def _live(self, reader: Reader, position: TopicPartition, beginning: int, suspects: Suspects) -> None:
        """Go on from what is committed; return when a transaction was too large and trying again will be different."""
        async with self._bus.writer(f"process.{position.partition}") as writer:
            committed = await self._bus.committed(self.group, position)
            first = beginning if committed is None else committed
            reader.seek(position.partition, first)
            suspects.attempts.begin(first)
            commits = Commits(writer, lambda batch, began: self._settled(position, batch, began))
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(commits.follow(), name=f"commits of {reader.topic}/{position.partition}")
                    filler = Filler(
                        reader, self._selection, suspects, self._options, self._report, self._pace, self._clock
                    )
                    await self._keep_filling(filler, commits, position)
            except ExceptionGroup as failed:
                if told_to_end():
                    raise asyncio.CancelledError from failed
                error = _worst(failed)
                if not isinstance(error, TooLarge) or not suspects.blame(*commits.span, str(error)):
                    raise error from failed
                self._report.too_large(position, str(error))
            except asyncio.CancelledError:
                with contextlib.suppress(TrelayError, TimeoutError):
                    async with asyncio.timeout(_DRAIN):
                        await commits.drain()
                raise

    async def _keep_filling(self, filler: Filler, commits: Commits, position: TopicPartition) -> None:
        while True:
            batch, began = await filler.fill()
            if batch.count:
                transaction = batch.transaction(self._topics, self.group, position, batch.last + 1)
                await commits.submit(batch, transaction, began)
            if filler.halt is not None:
                await commits.drain()
                self._report.halted(position, str(filler.halt))
                raise filler.halt
            if filler.alone:
                await commits.drain()

    def _settled(self, position: TopicPartition, batch: Batch, began: float) -> None:
        self._report.committed(position, batch, self._clock.monotonic() - began)


def _worst(failed: ExceptionGroup[Exception]) -> Exception:
    """Return the error that decides what to do: a newer owner before anything else, then a record that is too large."""
    for kind in (Fenced, TooLarge):
        for error in failed.exceptions:
            if isinstance(error, kind):
                return error
    return failed.exceptions[0]
