"""Reads the topics of a source: all partitions, without a group; the lease of the source is what keeps others away."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from typing import Literal

from services.system_api.sources.queue.kafka.lag import LagReport
from services.system_api.sources.queue.kafka.options import KafkaSourceOptions
from services.system_api.sources.queue.kafka.topic_reader import LEADER_EPOCH, TopicReader
from services.system_api.sources.queue.message import Message, Received
from services.system_api.sources.queue.positions import Positions
from services.system_api.sources.source import Checkpoint, Loss
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.protocol import Record
from shared.errors import SettingsError, Unavailable
from shared.runtime.tasks import started

logger = logging.getLogger(__name__)

_ARRIVAL = 1.0
"""Seconds in which records that exist must arrive."""
_DISCOVERY = 5.0
"""Seconds between two requests for the topics that match a pattern."""
_SLICE = 200
"""Records that are taken at once, before their bytes are counted."""
_MAX_TOPICS = 100
"""Each topic has connections and memory of its own."""


class KafkaConnection:
    """A `Connection` to the topics of one source."""

    def __init__(
        self, source: str, cluster: Cluster, options: KafkaSourceOptions, positions: Positions[int], lag: LagReport
    ) -> None:
        self._source = source
        self._cluster = cluster
        self._options = options
        self._positions = positions
        self._lag = lag
        self._topics: dict[str, TopicReader] = {}
        self._discovered = 0.0
        self._first = 0
        """Which topic is read first next time, so that none is always behind the others."""

    async def open(self) -> None:
        """Open the topics. Raises what `Broker.connected` does."""
        begun = any(mark.epoch for mark in self._positions.marks.values())
        await self._open_topics(first=not (begun and self._options.pattern))

    async def close(self) -> None:
        """Stop reading."""
        async with AsyncExitStack() as closing:
            for topic in self._topics.values():
                closing.push_async_callback(topic.close)
            await self._lag.flush()

    async def receive(self, limit: int, max_bytes: int) -> Received:
        """Return what was fetched; see `Connection`."""
        self._note_markers()
        await self._lag.report()
        await self._discover()
        records = await self._read(limit, max_bytes)
        waiting: tuple[str, ...] = ()
        if not records:
            self._check()
            if await self._missing():
                await self._arrival(_ARRIVAL)
                records = await self._read(limit, max_bytes)
                if not records and (missing := await self._missing()):
                    waiting = (f"{missing} offsets wait in the cluster",)
            if not records:
                self._note_markers()
        if records:
            records = await self._verified(records)
        messages = [self._topics[record.topic].message(record) for record in records]
        return Received(messages, more=bool(messages), waiting=waiting + self._hanging())

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Note the offsets in the group, if there is one; they are for people alone."""
        self._lag.note(messages)
        await self._lag.report()

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint of a place in all topics; see `Rewinding`. A time is that of the records."""
        places: dict[str, int | None] = {}
        for topic in self._topics.values():
            places |= await topic.places(place)
        return self._positions.checkpoint_after(places, without=[LEADER_EPOCH])

    async def wait(self) -> None:
        """Return when records were fetched; see `Connection`."""
        await self._arrival(None)

    def _note_markers(self) -> None:
        for topic in self._topics.values():
            topic.note_markers()

    async def _open_topics(self, *, first: bool) -> None:
        """Open what is not open; `first`: they may have been there before this source."""
        names = await self._names()
        self._discovered = self._cluster.clock.monotonic()
        for name in names:
            if name not in self._topics:
                topic = self._reader(name, len(names))
                await topic.open(latest=first and self._options.begins_at_end(name))
                self._topics[name] = topic
        for name in self._topics.keys() - set(names):
            await self._forget(name)

    async def _names(self) -> Sequence[str]:
        if self._options.topics is not None:
            return self._options.topics
        names = [name for name in await self._cluster.topic_names() if self._options.matches(name)]
        if len(names) > _MAX_TOPICS:
            raise SettingsError(
                f"pattern: found {len(names)} topics that match, expected at most {_MAX_TOPICS}; use several sources"
            )
        return names

    async def _forget(self, name: str) -> None:
        """Stop reading a topic that matched the pattern and was deleted."""
        topic = self._topics.pop(name)
        self._positions.losses.append(
            Loss(f"Kafka topic {name!r} was deleted: what it held and was not read is lost; its checkpoint is kept")
        )
        await topic.close()

    async def _discover(self) -> None:
        """Open what has appeared since: partitions, topics that match the pattern, and topics that were replaced."""
        due = self._cluster.clock.monotonic() - self._discovered >= _DISCOVERY
        if self._options.pattern is not None and due:
            await self._open_topics(first=False)
        for name, topic in list(self._topics.items()):
            if await topic.stale():
                await self._reopen(name)

    async def _reopen(self, name: str) -> None:
        before = self._topics[name]
        await before.close()
        topic = self._topics[name] = self._reader(name, len(self._topics))
        await topic.open(latest=False)

    def _reader(self, name: str, topics: int) -> TopicReader:
        """Return a reader of one of so many topics: each has requests of its own, and together they keep the bound."""
        share = max(65_536, self._options.prefetch_bytes // max(1, topics))
        return TopicReader(self._cluster, name, self._positions, share)

    async def _read(self, limit: int, max_bytes: int) -> list[Record]:
        records: list[Record] = []
        size = 0
        names = list(self._topics)
        self._first += 1
        for place in range(len(names)):
            topic = self._topics[names[(self._first + place) % len(names)]]
            while len(records) < limit and size < max_bytes:
                taken = await topic.read(min(_SLICE, limit - len(records)), _ARRIVAL if topic.lost else 0.0)
                if not taken:
                    break
                records += taken
                size += sum(len(record.value or b"") for record in taken)
        return records

    async def _verified(self, records: list[Record]) -> list[Record]:
        """Return the records of topics that still are what they were.

        A topic can be deleted and created again between two requests, which name it and not its id. An id never comes
        again: if the topic has its id now, it had the same one when the records were fetched.
        """
        names = {record.topic for record in records}
        found = await self._cluster.refresh(names)
        replaced = {name for name in names if name not in found or not self._topics[name].is_of(found[name].epoch)}
        for name in replaced:
            await self._reopen(name)
        return [record for record in records if record.topic not in replaced] if replaced else records

    async def _missing(self) -> int:
        return sum([await topic.missing() for topic in self._topics.values()])

    async def _arrival(self, timeout: float | None) -> None:
        if len(self._topics) == 1:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await next(iter(self._topics.values())).wait()
            return
        waits = [started(f"wait for {topic.name}", topic.wait()) for topic in self._topics.values()]
        discovery = _DISCOVERY if self._options.pattern is not None else None
        try:
            if waits:
                await asyncio.wait(waits, timeout=timeout or discovery, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(timeout or _DISCOVERY)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _check(self) -> None:
        """Raise `Unavailable` if the cluster does not work."""
        hanging = self._hanging()
        for problem in self._cluster.problems.values():
            if problem not in hanging:
                raise Unavailable(f"Kafka at {self._cluster.options.servers}: {problem}")

    def _hanging(self) -> tuple[str, ...]:
        """Return which transactions block readers: what is behind them waits."""
        return tuple(
            problem
            for part, problem in self._cluster.problems.items()
            if part.startswith("read ") and part.rpartition("/")[2].isdigit()
        )
