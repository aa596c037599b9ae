"""The reader: a task prefetches one batch, and `read` returns records of it.

The task runs on when a `read` is cancelled or times out, so no query is interrupted.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from shared.bus.postgres.fetcher import Fetched, Fetcher, runs
from shared.bus.postgres.notifier import CommitNotifier
from shared.bus.postgres.pools import Pools, TopicDeleted
from shared.bus.postgres.topics import Topics
from shared.bus.protocol import Record
from shared.errors import Unavailable
from shared.runtime.clock import Clock
from shared.runtime.tasks import Tasks

_POLL_INTERVAL = 1.0
"""Seconds after which a reader checks without a notification: a process may die between its commit and its NOTIFY."""
_PAUSE = 0.2
"""Seconds before the next query after the server did not answer, unless a notification comes earlier."""
_SHORTEST_WAIT = 0.1
"""Seconds that a query may take before a read without a wait returns nothing."""


class PostgresReader:
    """A `Reader`."""

    def __init__(self, fetcher: Fetcher, positions: Mapping[int, int], notified: asyncio.Event, clock: Clock) -> None:
        """`notified` is set when there may be new records."""
        self.topic = fetcher.topic.name
        self._fetcher = fetcher
        self._notified = notified
        self._clock = clock
        self._positions = dict(positions)
        self._next = dict(sorted(positions.items()))
        """Where to fetch next. The order is that of the query: the partition of the record read last comes last."""
        self._unchecked = set(positions)
        self._fetched = Fetched()
        self._taken = 0
        self._failure: Exception | None = None
        self._limit = 0
        self._seeks = 0
        self._requested = asyncio.Event()
        self._ready = asyncio.Event()

    @property
    def positions(self) -> Mapping[int, int]:
        """The offset after the last record read, by partition."""
        return self._positions

    def seek(self, partition: int, offset: int) -> None:
        """Read a partition from an offset on; drop what was fetched ahead."""
        self._positions[partition] = offset
        self._next |= self._positions
        self._unchecked.add(partition)
        self._fetched = Fetched()
        self._failure = None
        self._seeks += 1
        self._notified.set()

    async def read(self, limit: int = 1000, wait: float | None = None) -> Sequence[Record]:
        """Return the next records."""
        self._limit = limit
        deadline = None if wait is None else self._clock.monotonic() + max(wait, _SHORTEST_WAIT)
        while True:
            if self._fetched.records:
                return self._take(limit)
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            self._ready.clear()
            self._requested.set()
            try:
                async with asyncio.timeout(None if deadline is None else deadline - self._clock.monotonic()):
                    await self._ready.wait()
            except TimeoutError:
                return ()

    async def run(self) -> None:
        """Fetch whenever all that was fetched is taken; without end."""
        at_end = False
        while True:
            await self._requested.wait()
            if at_end and not self._notified.is_set():
                await self._wait_for_notification(_POLL_INTERVAL)
            self._notified.clear()
            seeks = self._seeks
            try:
                fetched = await self._fetcher.fetch(dict(self._next), frozenset(self._unchecked), self._limit)
            except Exception as exc:  # noqa: BLE001 -- `read` raises it; otherwise it would wait without end
                if isinstance(exc, Unavailable) and not isinstance(exc, TopicDeleted):
                    await self._wait_for_notification(_PAUSE)  # `Bus.problem` reports it
                elif seeks == self._seeks:
                    self._failure = exc
                    self._finish_request()
            else:
                if seeks == self._seeks:
                    at_end = fetched.at_end
                    self._store(fetched)

    def _store(self, fetched: Fetched) -> None:
        self._unchecked.clear()
        self._next |= fetched.skipped_to
        for number, run in runs(fetched.records, list(self._next)):
            self._next[number] = fetched.records[run.stop - 1].offset + 1
        if fetched.records:
            self._fetched, self._taken = fetched, 0
            self._finish_request()
        else:
            self._positions |= fetched.skipped_to

    def _finish_request(self) -> None:
        self._requested.clear()
        self._ready.set()

    def _take(self, limit: int) -> Sequence[Record]:
        fetched, begin = self._fetched, self._taken
        records = fetched.records[begin : begin + limit]
        self._taken += len(records)
        for number, run in runs(records, list(self._next)):
            self._positions[number] = records[run.stop - 1].offset + 1
        if self._taken == len(fetched.records):
            self._fetched = Fetched()
            last = records[-1].partition
            self._next[last] = self._next.pop(last)
            self._requested.set()
        return records

    async def _wait_for_notification(self, timeout: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._notified.wait()


@asynccontextmanager
async def postgres_reader(
    topics: Topics, topic: str, positions: Mapping[int, int], notifier: CommitNotifier, pools: Pools, clock: Clock
) -> AsyncIterator[PostgresReader]:
    """Read partitions, each from its offset on, for as long as the context lasts."""
    found = await topics.get(topic)
    async with Tasks() as tasks:
        with notifier.partitions.watch(found.partitions[number] for number in positions) as notified:
            reader = PostgresReader(Fetcher(found, pools), positions, notified, clock)
            tasks.keep(f"fetch {topic}", reader.run())
            try:
                yield reader
            except TopicDeleted:
                topics.invalidate([topic])
                raise
