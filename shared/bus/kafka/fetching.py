"""Fetches what a reader is to read, ahead of it but never far.

Each broker that leads some of the partitions has one request open, for all of them, and gets the next one when
everything that the last one brought was taken: so a reader that pauses holds one response a broker, and a partition is
never left out of a request that the broker answers only when something comes.

A response counts only while its request is the current one of its broker, and for a partition that is still to be read
from the offset that was asked for. Leaders move, and one that was paused meanwhile answers at last from a log that the
cluster has gone on without. Three things keep such an answer out: the request is withdrawn, and its connection closed,
when another broker is known to lead (`_withdraw`); each request names the leader's epoch, which brokers compare with
their own (KIP-320); and what is not asked for any more is dropped (`_sort`).
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from shared.bus.kafka.client.cluster import Cluster, TopicView
from shared.bus.kafka.client.connections import Broker
from shared.bus.kafka.client.errors import LOST_CONNECTION, NONE, OUT_OF_RANGE, Moved, of_code
from shared.bus.kafka.decoding import Chunk, KafkaRecord
from shared.bus.kafka.standstill import Standstill
from shared.bus.kafka.wire.fetch import UNKNOWN_EPOCH, FetchPosition, diverging_offset, fetch
from shared.errors import TrelayError, Unavailable
from shared.runtime.tasks import Tasks

_RESPONSE_LIMIT = 16 * 1024 * 1024
_PARTITION_LIMIT = 1024 * 1024
"""Bytes of one response, in all and of each partition; one larger batch comes alone."""

_LONG_POLL = 0.5
"""Seconds that a broker keeps a request for which it has nothing yet."""

_OVERDUE = 3 * _LONG_POLL
"""Seconds after which a broker that has not answered may have been replaced: the others are asked who leads now."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_REPORTED_FROM = 0.4
"""Seconds: shorter pauses are an election of leaders, and no problem."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A position that the leader's log does not have."""

    offset: int
    parted_at: int | None = None
    """Where that log parts from what was read before, if it does: it was truncated (KIP-320)."""


@dataclass(eq=False, slots=True)
class _Request:
    """What is asked of one broker."""

    wanted: Mapping[int, FetchPosition]
    task: asyncio.Task[None] | None = None


class Fetching:
    """What was fetched and not taken yet, by partition. `run` must be running."""

    def __init__(self, cluster: Cluster, topic: str, positions: Mapping[int, int], tasks: Tasks) -> None:
        self.positions = dict(positions)
        self.chunks: dict[int, Chunk] = {}
        self.lost: dict[int, Lost] = {}
        """Partitions whose position the leader does not have."""
        self.news = asyncio.Event()
        """Set when there may be something to take."""
        self._cluster = cluster
        self._topic = topic
        self._tasks = tasks
        self._connections = cluster.connections()
        self._requests: dict[Broker, _Request] = {}
        self._epochs: dict[int, int] = {}
        """By partition: the leader epoch of what was taken last."""
        self._wanted = asyncio.Event()
        self._pause = 0.0
        self._place = f"reading {topic}"
        self._standstill = Standstill(topic, cluster.longest_transaction)

    async def run(self) -> None:
        """Keep requests open, without end."""
        with self._cluster.watching(self._topic, self._wanted):
            while True:
                self._wanted.clear()
                try:
                    self._dispatch(await self._cluster.topic(self._topic))
                except Unavailable as exc:
                    await self._wait_after(exc)
                else:
                    await self._wait()

    def take(self, limit: int) -> list[KafkaRecord]:
        """Return what was fetched and not taken yet, at most `limit`."""
        taken: list[KafkaRecord] = []
        for partition in list(self.chunks):
            chunk = self.chunks[partition]
            try:
                taken += chunk.take(limit - len(taken))
            except Unavailable as exc:
                self._cluster.problems[self._place] = str(exc)
                del self.chunks[partition]
            else:
                if chunk.exhausted:
                    del self.chunks[partition]
            self.positions[partition] = chunk.position
            if chunk.epoch is not None:
                self._epochs[partition] = chunk.epoch
            if len(taken) >= limit:
                break
        self._wanted.set()
        return taken

    def restart(self, partition: int, offset: int) -> None:
        """Fetch a partition from elsewhere."""
        self.chunks.pop(partition, None)
        self.lost.pop(partition, None)
        if self.positions[partition] != offset:
            self.positions[partition] = offset
            self._epochs.pop(partition, None)
            # A request for the old place would only be answered when something comes there.
            for broker in list(self._requests):
                self._withdraw(broker)
        self._wanted.set()

    async def close(self) -> None:
        """Close the connections."""
        self._cluster.problems.pop(self._place, None)
        for partition in self.positions:
            self._tell(partition, None)
        await self._connections.close()

    def _dispatch(self, view: TopicView) -> None:
        by_leader: dict[Broker, list[int]] = {}
        leaderless = []
        for partition in self.positions:
            leader = view.leaders.get(partition)
            if leader is None:
                leaderless.append(partition)
            elif partition not in self.lost:
                by_leader.setdefault(leader, []).append(partition)
        for broker, request in list(self._requests.items()):
            if any(view.leaders.get(partition) not in {None, broker} for partition in request.wanted):
                self._withdraw(broker)
        for leader, partitions in by_leader.items():
            if leader not in self._requests and not any(partition in self.chunks for partition in partitions):
                wanted = {
                    partition: FetchPosition(
                        self.positions[partition],
                        view.epochs.get(partition, UNKNOWN_EPOCH),
                        self._epochs.get(partition, UNKNOWN_EPOCH),
                    )
                    for partition in partitions
                }
                request = self._requests[leader] = _Request(wanted)
                request.task = self._tasks.start(f"fetching {self._topic}", self._fetch(leader, request))
        if leaderless:
            raise Moved(f"reading {self._topic}: no leader for {leaderless}")

    def _withdraw(self, broker: Broker) -> None:
        """End the request to a broker; what it answers is not taken."""
        request = self._requests.pop(broker)
        if request.task is not None:
            request.task.cancel()
        self._connections.drop(broker)

    async def _wait(self) -> None:
        """Wait until there may be something to ask for; while a broker does not answer, ask the others who leads."""
        if not self._requests:
            await self._wanted.wait()
            return
        with suppress(Unavailable):
            try:
                async with asyncio.timeout(_OVERDUE):
                    await self._wanted.wait()
            except TimeoutError:
                await self._cluster.refresh([self._topic])

    async def _fetch(self, leader: Broker, request: _Request) -> None:
        try:
            failure = await self._ask(leader, request)
            if failure is None:
                self._pause = 0.0
                self._cluster.problems.pop(self._place, None)
            else:
                await self._wait_after(failure)
        finally:
            if self._requests.get(leader) is request:
                del self._requests[leader]
            self._wanted.set()

    async def _ask(self, leader: Broker, request: _Request) -> TrelayError | None:
        """Put away what a leader has; return what went wrong."""
        form = fetch(
            self._topic,
            request.wanted.items(),
            wait=_LONG_POLL,
            max_bytes=_RESPONSE_LIMIT,
            partition_max_bytes=_PARTITION_LIMIT,
        )
        try:
            response = await self._connections.send(leader, form)
        except LOST_CONNECTION as exc:
            return Moved(f"reading {self._topic} from {leader.host}:{leader.port}: {exc}")
        if self._requests.get(leader) is not request:
            return None
        if response.error_code != NONE:
            return of_code(response.error_code, f"reading {self._topic}")
        return self._sort(request.wanted, response.topics)

    def _sort(self, wanted: Mapping[int, FetchPosition], topics: Iterable[Any]) -> TrelayError | None:
        """Put away what a response brought; return what went wrong with some of it."""
        failure: TrelayError | None = None
        for _, partitions, _ in topics:
            for partition, code, end, readable, _, aborted, _, content, tags in partitions:
                asked = wanted[partition].offset
                if self.positions[partition] != asked or partition in self.chunks:
                    continue
                parted_at = diverging_offset(tags)
                if code == OUT_OF_RANGE or parted_at is not None:
                    self.lost[partition] = Lost(asked, parted_at)
                    continue
                if code != NONE:
                    failure = of_code(code, f"reading {self._topic}/{partition}")
                    continue
                self._tell(partition, self._standstill.note(partition, readable, end, self._cluster.clock.monotonic()))
                if content:
                    begun = [(producer, first) for producer, first, _ in aborted or ()]
                    self.chunks[partition] = Chunk(self._topic, partition, asked, content, begun)
        if self.chunks or self.lost:
            self.news.set()
        return failure

    def _tell(self, partition: int, standstill: str | None) -> None:
        place = f"{self._place}/{partition}"  # other readers of the topic have other partitions
        if standstill is None:
            self._cluster.problems.pop(place, None)
        else:
            self._cluster.problems[place] = standstill

    async def _wait_after(self, failure: TrelayError) -> None:
        """Pause, longer each time; ask anew who leads."""
        self._standstill.forget()
        self._cluster.forget([self._topic])
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        if self._pause >= _REPORTED_FROM:
            self._cluster.problems[self._place] = str(failure)
        await self._cluster.clock.sleep(self._pause)
