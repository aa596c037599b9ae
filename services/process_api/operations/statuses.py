"""What each replica does, shared over the bus: it publishes its own status, and follows those of the others."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from services.process_api.operations.activity import Activity
from shared.bus.protocol import Bus, Outgoing, Record
from shared.errors import PositionLost, Unavailable
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_CHECK_INTERVAL = 1.0
_PUBLISH_INTERVAL = 5.0
"""Seconds between two statuses of a replica on which nothing decisive changes."""
_SILENT = 15.0
"""Seconds without a status after which a replica is taken for gone."""
_WAIT = 10.0
_FIRST_WAIT = 0.1


class Held(msgspec.Struct, frozen=True):
    """Why a partition is held."""

    pipeline: str
    step: str
    """Empty where an operator paused the pipeline."""
    error: str
    since: float


class StateSize(msgspec.Struct, frozen=True):
    """How much state a step has committed in one partition."""

    pipeline: str
    step: str
    keys: int
    bytes: int


class PartitionStatus(msgspec.Struct, frozen=True):
    """A partition that a replica processes."""

    position: int
    """The next offset that it reads."""
    since: float
    """When it was assigned to the replica."""
    held: Held | None = None
    state: list[StateSize] = []


class ReplicaStatus(msgspec.Struct, frozen=True):
    """What one replica does."""

    node: str
    at: float
    pipelines: dict[str, Activity]
    partitions: dict[int, PartitionStatus]


class _Received(NamedTuple):
    status: ReplicaStatus
    at: float
    """Of the monotonic clock of this replica."""


class Statuses:
    """The statuses of all replicas."""

    def __init__(self, topic: str, node: str, own: Callable[[], ReplicaStatus], clock: Clock) -> None:
        """`own` returns the status of this replica, `node`, as it is now."""
        self._topic = topic
        self._node = node
        self._own = own
        self._clock = clock
        self._received: dict[str, _Received] = {}
        self._due = True
        self.is_known = False
        """Whether all was read that was published before this replica started."""

    def all(self) -> list[ReplicaStatus]:
        """Return the statuses of the replicas that run, this one first."""
        now = self._clock.monotonic()
        for node in [node for node, (_, at) in self._received.items() if now - at > _SILENT]:
            del self._received[node]
        return [self._own(), *(received.status for received in self._received.values())]

    async def publish(self, bus: Bus) -> None:
        """Publish the status of this replica until cancelled: at an interval, and soon after a change."""
        published, at = None, 0.0
        while True:
            try:
                async with bus.appender() as appender:
                    while True:
                        status, now = self._own(), self._clock.monotonic()
                        decisive = _decisive(status)
                        if self._due or decisive != published or now - at >= _PUBLISH_INTERVAL:
                            self._due = False
                            record = Outgoing(status.node.encode(), msgspec.json.encode(status))
                            await appender.append(self._topic, [record])
                            published, at = decisive, now
                        await self._clock.sleep(_CHECK_INTERVAL)
            except Unavailable:
                await self._clock.sleep(_CHECK_INTERVAL)  # the bus reports that as its own problem

    async def follow(self, bus: Bus) -> None:
        """Follow the statuses of the others until cancelled, from those on that replicas which run have published."""
        position, end = None, 0
        while True:
            try:
                if position is None:
                    since = int((self._clock.time() - _SILENT) * 1000)
                    position = (await bus.offsets_at(self._topic, since))[0]
                    end = (await bus.bounds(self._topic))[0][1]
                async with bus.reader(self._topic, {0: position}) as reader:
                    while True:
                        self.is_known = self.is_known or position >= end
                        self._take(await reader.read(wait=_WAIT if self.is_known else _FIRST_WAIT))
                        position = reader.positions[0]
            except PositionLost:
                position = None
            except Unavailable:
                await self._clock.sleep(_CHECK_INTERVAL)

    def _take(self, records: Sequence[Record]) -> None:
        now = self._clock.monotonic()
        for record in records:
            # Clocks of replicas may differ; what comes in while this one follows was published just now.
            age = 0.0 if self.is_known else max(0.0, self._clock.time() - record.timestamp / 1000)
            try:
                status = msgspec.json.decode(record.value or b"", type=ReplicaStatus)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                logger.debug("ignoring status of a replica of another release", extra={"component": "operations"})
                continue
            if status.node == self._node:
                continue
            # A replica that has just started knows nothing of this one yet.
            self._due = self._due or status.node not in self._received
            self._received[status.node] = _Received(status, now - age)


def _decisive(status: ReplicaStatus) -> object:
    """Return what is published at once where it changes."""
    versions = {name: (activity.version, activity.last_error) for name, activity in status.pipelines.items()}
    held = {number: (partition.since, partition.held) for number, partition in status.partitions.items()}
    return versions, held
