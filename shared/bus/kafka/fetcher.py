"""Fetches records ahead of a reader, within bounds.

Each broker that leads some of the partitions has one request open, for all of them. It gets the next request when all
that the last response brought was taken. So a reader that pauses holds one response of each broker, and no partition is
missing from a request that the broker keeps open until records arrive. One task for each broker sends its requests, one
after the other; `run` starts these tasks, and only wakes when leaders change or a request fails.

A response counts only while its request is the current one of its broker, and only for partitions that are still read
from the offset in the request. When a leader moves while it is paused, it answers at last from a log that the cluster
has left behind. Three checks discard such a response: when another broker becomes the leader, the request is cancelled
and its connection closed (`_cancel`); each request carries the leader epoch, which the broker compares with its own
(KIP-320); and `_store` drops partitions whose position has changed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from shared.bus.kafka.client.cluster import Cluster, TopicMetadata
from shared.bus.kafka.client.connections import Broker
from shared.bus.kafka.client.errors import LOST_CONNECTION, NONE, OFFSET_OUT_OF_RANGE, StaleMetadata, error_for_code
from shared.bus.kafka.decoding import CompletedFetch, KafkaRecord
from shared.bus.kafka.hanging_transactions import HangingTransactions
from shared.bus.kafka.wire.fetch import UNKNOWN_EPOCH, FetchedPartition, FetchPosition, fetch
from shared.errors import TrelayError, Unavailable
from shared.runtime.tasks import Tasks

MAX_BYTES = 16 * 1024 * 1024
_PARTITION_MAX_BYTES = 2 * 1024 * 1024
"""Bytes of one response, in total and of each partition; a larger batch comes alone. The share of a
partition is more than one transaction of the process layer takes. With half of it, an event costs 7 % more CPU."""

_LONG_POLL = 0.5
"""Seconds for which a broker keeps a request open while it has no records."""

_OVERDUE_AFTER = 3 * _LONG_POLL
"""Seconds after which a leader without a response may have been replaced: other brokers are asked for the leaders."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_PROBLEM_FROM = 0.4
"""Seconds: shorter pauses are an election of leaders, and no problem."""


@dataclass(frozen=True, slots=True)
class LostPosition:
    """A position that the leader's log does not have."""

    offset: int
    diverging_offset: int | None = None
    """Where that log diverges from what was read before, because it was truncated (KIP-320)."""


@dataclass(eq=False, slots=True)
class _Requests:
    """The requests to one broker, of which one is open at a time."""

    positions: Mapping[int, FetchPosition] = field(default_factory=dict)
    """Of the open request; none while there is none."""
    sent_at: float = 0.0
    """When the open request was sent, in seconds of the event loop."""
    task: asyncio.Task[None] | None = None


class Fetcher:
    """What was fetched and not taken yet, by partition. `run` must be running."""

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        positions: Mapping[int, int],
        tasks: Tasks,
        *,
        epochs: Mapping[int, int] | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`epochs` are the leader epochs of what was read last, by partition; `max_bytes` bounds each response."""
        self.positions = dict(positions)
        self.fetched: dict[int, CompletedFetch] = {}
        self.lost: dict[int, LostPosition] = {}
        self.updated = asyncio.Event()
        """Set when there may be something in `fetched` or `lost`."""
        self._cluster = cluster
        self._topic = topic
        self._tasks = tasks
        self._connections = cluster.connections()
        self._requests: dict[Broker, _Requests] = {}
        self._metadata = TopicMetadata(topic, "", {})
        self._taken = asyncio.Event()
        """Set when all that was fetched of a partition was taken."""
        self._asked_at = 0.0
        """When other brokers were last asked for the leaders, in seconds of the event loop."""
        self.epochs = dict(epochs or {})
        """By partition: the leader epoch of the last batch taken."""
        self._max_bytes = max_bytes
        self._wakeup = asyncio.Event()
        self._pause = 0.0
        self._part = f"read {topic}"
        """The key in `Cluster.problems`."""
        self._hanging = HangingTransactions(topic, cluster.transaction_timeout)

    async def run(self) -> None:
        """Keep a task for the requests to each leader, without end."""
        with self._cluster.watch_leaders(self._topic, self._wakeup):
            while True:
                self._wakeup.clear()
                try:
                    self._start_requests(await self._cluster.topic(self._topic))
                except Unavailable as exc:
                    await self._back_off(exc)
                else:
                    await self._wait()

    def take(self, limit: int) -> list[KafkaRecord]:
        """Return records that were fetched and not taken yet, at most `limit`."""
        taken: list[KafkaRecord] = []
        before = len(self.fetched)
        for partition in list(self.fetched):
            completed = self.fetched[partition]
            try:
                taken += completed.take(limit - len(taken))
            except Unavailable as exc:
                self._cluster.problems[self._part] = str(exc)
                del self.fetched[partition]
            else:
                if completed.exhausted:
                    del self.fetched[partition]
            self.positions[partition] = completed.position
            if completed.epoch is not None:
                self.epochs[partition] = completed.epoch
            if len(taken) >= limit:
                break
        if len(self.fetched) < before:
            self._taken.set()
        return taken

    def seek(self, partition: int, offset: int) -> None:
        """Fetch a partition from an offset on."""
        self.fetched.pop(partition, None)
        self.lost.pop(partition, None)
        if self.positions[partition] != offset:
            self.positions[partition] = offset
            self.epochs.pop(partition, None)
            # A request for the old position would stay open until records arrive there.
            for broker, requests in list(self._requests.items()):
                if requests.positions:
                    self._cancel(broker)
        self._taken.set()
        self._wakeup.set()

    async def close(self) -> None:
        self._cluster.problems.pop(self._part, None)
        for partition in self.positions:
            self._report_hanging(partition, None)
        await self._connections.close()

    def _start_requests(self, topic: TopicMetadata) -> None:
        """Start a task for each leader that has none; cancel the requests for partitions that have another leader."""
        self._metadata = topic
        for broker, requests in list(self._requests.items()):
            if any(topic.leaders.get(partition) not in {None, broker} for partition in requests.positions):
                self._cancel(broker)
        leaderless = []
        for partition in self.positions:
            leader = topic.leaders.get(partition)
            if leader is None:
                leaderless.append(partition)
            elif partition not in self.lost and leader not in self._requests:
                requests = self._requests[leader] = _Requests()
                requests.task = self._tasks.start(f"fetch {self._topic}", self._fetch(leader, requests))
        if leaderless:
            raise StaleMetadata(f"read {self._topic}: no leader for partitions {leaderless}")

    def _cancel(self, broker: Broker) -> None:
        """Cancel the requests to a broker; a response that still arrives is discarded."""
        requests = self._requests.pop(broker)
        if requests.task is not None:
            requests.task.cancel()
        self._connections.drop(broker)

    async def _wait(self) -> None:
        """Wait until a task may be due; while a broker does not answer, ask the others for the leaders."""
        loop = asyncio.get_running_loop()
        open_since = min((each.sent_at for each in self._requests.values() if each.positions), default=loop.time())
        with suppress(Unavailable):
            try:
                async with asyncio.timeout_at(max(open_since, self._asked_at) + _OVERDUE_AFTER):
                    await self._wakeup.wait()
            except TimeoutError:
                if any(each.positions and each.sent_at <= open_since for each in self._requests.values()):
                    self._asked_at = loop.time()
                    await self._cluster.refresh([self._topic])

    async def _fetch(self, leader: Broker, requests: _Requests) -> None:
        """Send requests to a leader, one after the other, until one fails or it leads nothing that is read."""
        try:
            while positions := await self._next_positions(leader):
                requests.positions = positions
                requests.sent_at = asyncio.get_running_loop().time()
                failure = await self._send(leader, requests)
                if failure is not None:
                    await self._back_off(failure)
                    return
                self._pause = 0.0
                self._cluster.problems.pop(self._part, None)
                if self._requests.get(leader) is not requests:
                    return
                requests.positions = {}
        finally:
            if self._requests.get(leader) is requests:
                del self._requests[leader]
            self._wakeup.set()

    async def _next_positions(self, leader: Broker) -> Mapping[int, FetchPosition]:
        """Wait until all that a leader has returned was taken, and return where to read on in its partitions."""
        while True:
            leaders, epochs = self._metadata.leaders, self._metadata.leader_epochs
            led = [number for number in self.positions if leaders.get(number) == leader and number not in self.lost]
            if self.fetched.keys().isdisjoint(led):
                unknown = UNKNOWN_EPOCH
                return {
                    number: FetchPosition(
                        self.positions[number], epochs.get(number, unknown), self.epochs.get(number, unknown)
                    )
                    for number in led
                }
            self._taken.clear()
            await self._taken.wait()

    async def _send(self, leader: Broker, requests: _Requests) -> TrelayError | None:
        """Store what a leader returns; return what went wrong."""
        form = fetch(
            self._topic,
            requests.positions.items(),
            wait=_LONG_POLL,
            max_bytes=self._max_bytes,
            partition_max_bytes=min(_PARTITION_MAX_BYTES, self._max_bytes),
        )
        try:
            response = await self._connections.send(leader, form)
        except LOST_CONNECTION as exc:
            return StaleMetadata(f"read {self._topic} from {leader.host}:{leader.port}: {exc}")
        if self._requests.get(leader) is not requests:
            return None
        if response.error_code != NONE:
            return error_for_code(response.error_code, f"read {self._topic}")
        return self._store(requests.positions, response.partitions)

    def _store(self, positions: Mapping[int, FetchPosition], fetched: Sequence[FetchedPartition]) -> TrelayError | None:
        """Store the content of a response; return what went wrong with a part of it."""
        failure: TrelayError | None = None
        now = self._cluster.clock.monotonic()
        for partition, code, high_watermark, last_stable, aborted, content, diverging in fetched:
            requested = positions[partition].offset
            if self.positions[partition] != requested or partition in self.fetched:
                continue
            if code == OFFSET_OUT_OF_RANGE or diverging is not None:
                self.lost[partition] = LostPosition(requested, diverging)
                continue
            if code != NONE:
                failure = error_for_code(code, f"read {self._topic}/{partition}")
                continue
            self._report_hanging(partition, self._hanging.check(partition, last_stable, high_watermark, now))
            if content:
                self.fetched[partition] = CompletedFetch(self._topic, partition, requested, content, aborted)
        if self.fetched or self.lost:
            self.updated.set()
        return failure

    def _report_hanging(self, partition: int, problem: str | None) -> None:
        part = f"{self._part}/{partition}"  # other readers of the topic have other partitions
        if problem is None:
            self._cluster.problems.pop(part, None)
        else:
            self._cluster.problems[part] = problem

    async def _back_off(self, failure: TrelayError) -> None:
        """Pause, each time longer than before; then request the metadata again."""
        self._hanging.reset()
        self._cluster.invalidate([self._topic])
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        if self._pause >= _PROBLEM_FROM:
            self._cluster.problems[self._part] = str(failure)
        await self._cluster.clock.sleep(self._pause)
