"""The reader: looks ahead by one batch, in a task of its own, and hands out what was found.

Looking goes on when a read is cancelled or gives up waiting, so neither ever costs a query that is half done.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from shared.bus.postgres.fetching import Fetching, Found, runs
from shared.bus.postgres.link import Link, TopicGone
from shared.bus.postgres.news import News
from shared.bus.postgres.topics import Topics
from shared.bus.protocol import Record
from shared.errors import Unavailable
from shared.runtime.clock import Clock
from shared.runtime.tasks import Tasks

_LOOK_ANYWAY = 1.0
"""Seconds after which a reader looks unasked: news is lost with whoever dies between his commit and the telling."""
_PAUSE = 0.2
"""Seconds before asking a server again that does not answer, unless it is heard of earlier."""
_LEAST_WAIT = 0.1
"""Seconds that a look may take before a read that is not to wait gives up."""


class PostgresReader:
    """A `Reader`."""

    def __init__(self, fetching: Fetching, positions: Mapping[int, int], woken: asyncio.Event, clock: Clock) -> None:
        """`woken` is set when there may be something new."""
        self.topic = fetching.topic.name
        self._fetching = fetching
        self._woken = woken
        self._clock = clock
        self._positions = dict(positions)
        self._ahead = dict(sorted(positions.items()))
        """Behind what was found; the order is that of asking: the partition that gave the last record comes last."""
        self._unchecked = set(positions)
        self._found = Found()
        self._taken = 0
        self._failure: Exception | None = None
        self._limit = 0
        self._seeks = 0
        self._hungry = asyncio.Event()
        self._ready = asyncio.Event()

    @property
    def positions(self) -> Mapping[int, int]:
        """The offset after the last record read, by partition."""
        return self._positions

    def seek(self, partition: int, offset: int) -> None:
        """Go elsewhere; what was found ahead is looked for again."""
        self._positions[partition] = offset
        self._ahead |= self._positions
        self._unchecked.add(partition)
        self._found = Found()
        self._failure = None
        self._seeks += 1
        self._woken.set()

    async def read(self, limit: int = 1000, wait: float | None = None) -> Sequence[Record]:
        """Return what comes next."""
        self._limit = limit
        deadline = None if wait is None else self._clock.monotonic() + max(wait, _LEAST_WAIT)
        while True:
            if self._found.records:
                return self._take(limit)
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            self._ready.clear()
            self._hungry.set()
            try:
                async with asyncio.timeout(None if deadline is None else deadline - self._clock.monotonic()):
                    await self._ready.wait()
            except TimeoutError:
                return ()

    async def keep_looking(self) -> None:
        """Find what is to be read next whenever nothing is left; for ever."""
        at_end = False
        while True:
            await self._hungry.wait()
            if at_end and not self._woken.is_set():
                await self._news(_LOOK_ANYWAY)
            self._woken.clear()
            seeks = self._seeks
            try:
                found = await self._fetching.look(dict(self._ahead), frozenset(self._unchecked), self._limit)
            except Exception as exc:  # noqa: BLE001 -- whoever reads is told, or would wait for ever
                if isinstance(exc, Unavailable) and not isinstance(exc, TopicGone):
                    await self._news(_PAUSE)  # said by `Bus.problem`
                elif seeks == self._seeks:
                    self._failure = exc
                    self._satisfied()
            else:
                if seeks == self._seeks:
                    at_end = found.at_end
                    self._note(found)

    def _note(self, found: Found) -> None:
        self._unchecked.clear()
        self._ahead |= found.passed
        for number, run in runs(found.records, list(self._ahead)):
            self._ahead[number] = found.records[run.stop - 1].offset + 1
        if found.records:
            self._found, self._taken = found, 0
            self._satisfied()
        else:
            self._positions |= found.passed

    def _satisfied(self) -> None:
        self._hungry.clear()
        self._ready.set()

    def _take(self, limit: int) -> Sequence[Record]:
        found, begin = self._found, self._taken
        piece = found.records[begin : begin + limit]
        self._taken += len(piece)
        for number, run in runs(piece, list(self._ahead)):
            self._positions[number] = piece[run.stop - 1].offset + 1
        if self._taken == len(found.records):
            self._found = Found()
            last = piece[-1].partition
            self._ahead[last] = self._ahead.pop(last)
            self._hungry.set()
        return piece

    async def _news(self, patience: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._woken.wait()


@asynccontextmanager
async def postgres_reader(
    topics: Topics, topic: str, positions: Mapping[int, int], news: News, link: Link, clock: Clock
) -> AsyncIterator[PostgresReader]:
    """Read partitions from given offsets on, for as long as the context lasts."""
    known = await topics.find(topic)
    async with Tasks() as tasks:
        with news.partitions.watch(known.partitions[number] for number in positions) as woken:
            reader = PostgresReader(Fetching(known, link), positions, woken, clock)
            tasks.keep(f"reading {topic}", reader.keep_looking())
            try:
                yield reader
            except TopicGone:
                topics.forget([topic])
                raise
