"""Fetches what a reader is to read, ahead of it but never far.

Each broker that leads some of the partitions has one request under way, for all of them, and gets the next one when
everything that the last one brought was taken: so a reader that pauses holds one answer a broker, and a partition is
never left out of a request that the broker answers only when something comes.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.protocol.fetch import FetchRequest

from shared.bus.kafka.client.cluster import Cluster, TopicView
from shared.bus.kafka.client.connections import Broker
from shared.bus.kafka.client.errors import LOST_CONNECTION, NONE, OUT_OF_RANGE, Moved, of_code
from shared.bus.kafka.decoding import Chunk, KafkaRecord
from shared.bus.kafka.standstill import Standstill
from shared.errors import TrelayError, Unavailable
from shared.runtime.tasks import Tasks

_ANSWER_LIMIT = 16 * 1024 * 1024
_PARTITION_LIMIT = 1024 * 1024
"""Bytes of one answer, in all and of each partition; one larger batch comes alone."""

_LONG_POLL = 0.5
"""Seconds that a broker keeps a request for which it has nothing yet."""

_AT_LEAST = 1
_COMMITTED_ONLY = 1
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_WORTH_SAYING = 0.4
"""Seconds: shorter pauses are an election of leaders, and no trouble."""


class Fetching:
    """What was fetched and not taken yet, by partition. `run` must be running."""

    def __init__(self, cluster: Cluster, topic: str, positions: Mapping[int, int], tasks: Tasks) -> None:
        self.positions = dict(positions)
        self.chunks: dict[int, Chunk] = {}
        self.out_of_range: dict[int, int] = {}
        """Partitions whose position the broker does not have, and that position."""
        self.news = asyncio.Event()
        """Set when there may be something to take."""
        self._cluster = cluster
        self._topic = topic
        self._tasks = tasks
        self._connections = cluster.connections()
        self._under_way: dict[Broker, asyncio.Task[None]] = {}
        self._wanted = asyncio.Event()
        self._pause = 0.0
        self._place = f"reading {topic}"
        self._standstill = Standstill(topic, cluster.longest_transaction)

    async def run(self) -> None:
        """Keep requests under way, for ever."""
        while True:
            self._wanted.clear()
            try:
                view = await self._cluster.topic(self._topic)
                self._dispatch(view)
            except Unavailable as exc:
                await self._wait_after(exc)
                continue
            await self._wanted.wait()

    def take(self, limit: int) -> list[KafkaRecord]:
        """Return what was fetched and not taken yet, at most `limit`."""
        taken: list[KafkaRecord] = []
        for partition in list(self.chunks):
            chunk = self.chunks[partition]
            try:
                taken += chunk.take(limit - len(taken))
            except Unavailable as exc:
                self._cluster.troubles[self._place] = str(exc)
                del self.chunks[partition]
            else:
                if chunk.exhausted:
                    del self.chunks[partition]
            self.positions[partition] = chunk.position
            if len(taken) >= limit:
                break
        self._wanted.set()
        return taken

    def restart(self, partition: int, offset: int) -> None:
        """Fetch a partition from elsewhere."""
        self.chunks.pop(partition, None)
        self.out_of_range.pop(partition, None)
        if self.positions[partition] != offset:
            self.positions[partition] = offset
            # A request for the old place would only be answered when something comes there.
            for broker, task in list(self._under_way.items()):
                task.cancel()
                self._connections.drop(broker)
            self._under_way.clear()
        self._wanted.set()

    async def close(self) -> None:
        """Close the connections."""
        self._cluster.troubles.pop(self._place, None)
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
            elif partition not in self.out_of_range:
                by_leader.setdefault(leader, []).append(partition)
        for leader, partitions in by_leader.items():
            if leader not in self._under_way and not any(partition in self.chunks for partition in partitions):
                work = self._fetch(leader, {partition: self.positions[partition] for partition in partitions})
                self._under_way[leader] = self._tasks.start(f"fetching {self._topic}", work)
        if leaderless:
            raise Moved(f"reading {self._topic}: no leader for {leaderless}")

    async def _fetch(self, leader: Broker, asked: dict[int, int]) -> None:
        try:
            failure = await self._ask(leader, asked)
            if failure is None:
                self._pause = 0.0
                self._cluster.troubles.pop(self._place, None)
            else:
                await self._wait_after(failure)
        finally:
            if self._under_way.get(leader) is asyncio.current_task():
                del self._under_way[leader]
            self._wanted.set()

    async def _ask(self, leader: Broker, asked: dict[int, int]) -> TrelayError | None:
        """Put away what a leader has; return what went wrong."""
        try:
            answer = await self._connections.send(leader, self._request(asked))
        except LOST_CONNECTION as exc:
            return Moved(f"reading {self._topic} from {leader.host}:{leader.port}: {exc}")
        if answer.error_code != NONE:
            return of_code(answer.error_code, f"reading {self._topic}")
        return self._sort(asked, answer.topics)

    def _request(self, asked: Mapping[int, int]) -> FetchRequest:
        partitions = [(partition, offset, _PARTITION_LIMIT) for partition, offset in asked.items()]
        wait = int(_LONG_POLL * 1000)
        return FetchRequest(wait, _AT_LEAST, _ANSWER_LIMIT, _COMMITTED_ONLY, [(self._topic, partitions)])

    def _sort(self, asked: Mapping[int, int], topics: Iterable[Any]) -> TrelayError | None:
        """Put away what an answer brought; return what went wrong with some of it."""
        failure: TrelayError | None = None
        for _, partitions in topics:
            for partition, code, end, readable, *_, aborted, _, content in partitions:
                if code == OUT_OF_RANGE:
                    self.out_of_range[partition] = asked[partition]
                    continue
                if code != NONE:
                    failure = of_code(code, f"reading {self._topic}/{partition}")
                    continue
                self._tell(partition, self._standstill.note(partition, readable, end, self._cluster.clock.monotonic()))
                if content:
                    self.chunks[partition] = Chunk(self._topic, partition, asked[partition], content, aborted)
        if self.chunks or self.out_of_range:
            self.news.set()
        return failure

    def _tell(self, partition: int, standstill: str | None) -> None:
        place = f"{self._place}/{partition}"  # other readers of the topic have other partitions
        if standstill is None:
            self._cluster.troubles.pop(place, None)
        else:
            self._cluster.troubles[place] = standstill

    async def _wait_after(self, failure: TrelayError) -> None:
        """Pause, longer each time; ask anew who leads."""
        self._standstill.forget()
        self._cluster.forget([self._topic])
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        if self._pause >= _WORTH_SAYING:
            self._cluster.troubles[self._place] = str(failure)
        await self._cluster.clock.sleep(self._pause)
