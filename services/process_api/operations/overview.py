"""All pipelines of the deployment, as any replica shows them."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from services.process_api.operations.controls import Controls
from services.process_api.operations.requests import Asked
from services.process_api.operations.statuses import PartitionStatus, ReplicaStatus, Statuses
from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.selection import Selection
from shared.bus.protocol import Bus, TopicPartition
from shared.bus.topics import TopicsOptions
from shared.errors import Unavailable
from shared.runtime.clock import Clock, rfc3339


class _Partition(NamedTuple):
    """A partition of the ingest topic."""

    earliest: int
    end: int
    committed: int


class Overview:
    """What `GET /pipelines` shows."""

    def __init__(
        self,
        selection: Callable[[], Selection],
        controls: Controls,
        statuses: Statuses,
        topics: TopicsOptions,
        group: str,
        clock: Clock,
    ) -> None:
        """`selection` returns the pipelines that run on this replica; `group` commits the offsets."""
        self._selection = selection
        self._controls = controls
        self._statuses = statuses
        self._topics = topics
        self._group = group
        self._clock = clock

    async def all(self, bus: Bus | None) -> dict[str, dict[str, Any]]:
        """Return all pipelines by name; without the bus, or while it does not answer, without their lag."""
        epoch, partitions, asked = "", None, self._controls.asked
        if bus is not None:
            with contextlib.suppress(Unavailable):
                asked = asked if self._controls.is_known else await self._controls.fresh(bus)
                epoch = await bus.epoch(self._topics.ingest)
                partitions = await self._partitions(bus)
        replicas = self._statuses.all()
        return {
            pipeline.name: self._one(pipeline, replicas, partitions, asked, epoch)
            for pipeline in self._selection().pipelines
        }

    async def positions(self, bus: Bus, pipeline: str) -> dict[int, int]:
        """Return the offset from which a pipeline goes on, by partition. Raises `Unavailable`."""
        asked, epoch = await self._controls.fresh(bus), await bus.epoch(self._topics.ingest)
        partitions = await self._partitions(bus)
        lag = self._lag(pipeline, asked, partitions, epoch)
        return {number: lag[str(number)]["position"] for number in partitions}

    async def _partitions(self, bus: Bus) -> dict[int, _Partition]:
        bounds = await bus.bounds(self._topics.ingest)
        places = [TopicPartition(self._topics.ingest, number) for number in sorted(bounds)]
        committed = await asyncio.gather(*(bus.committed(self._group, place) for place in places))
        return {
            place.partition: _Partition(*bounds[place.partition], bounds[place.partition][0] if at is None else at)
            for place, at in zip(places, committed, strict=True)
        }

    def _one(
        self,
        pipeline: Pipeline,
        replicas: Sequence[ReplicaStatus],
        partitions: Mapping[int, _Partition] | None,
        asked: Asked,
        epoch: str,
    ) -> dict[str, Any]:
        name = pipeline.name
        owners = _owners(replicas)
        held = [
            _held(number, status) for number, (_, status) in sorted(owners.items()) if _holds(status, name, step=True)
        ]
        control = asked.controls.get(name)
        paused = None
        if control is not None and control.paused:
            paused = {"by": control.by, "reason": control.reason, "at": rfc3339(control.at)}
        lag = None if partitions is None else self._lag(name, asked, partitions, epoch)
        return {
            "state": "paused" if paused else "held" if held else "running",
            "version": pipeline.version,
            "sources": list(pipeline.sources),
            "channel": pipeline.channel,
            "steps": list(pipeline.places),
            "stateful": pipeline.stateful,
            "topics": self._written(pipeline),
            "paused": paused,
            "held": held,
            "lag": None if lag is None else sum(each["waiting"] for each in lag.values()),
            "partitions": {
                str(number): (lag or {}).get(str(number), {})
                | {"replica": owners[number][0] if number in owners else None}
                for number in sorted({*owners, *(partitions or ())})
            },
            "state_size": _state_size(name, owners),
            **_activity(name, replicas),
            "rewind": self._rewind(name, asked, epoch),
            "replicas": {
                replica.node: {
                    "version": replica.pipelines[name].version if name in replica.pipelines else None,
                    "as_of": rfc3339(replica.at),
                }
                for replica in replicas
            },
        }

    def _written(self, pipeline: Pipeline) -> dict[str, list[str]]:
        topics = self._topics
        written = [topics.publish, topics.dead_letter, *([topics.state] if pipeline.stateful else ())]
        return {"in": [topics.ingest], "out": written}

    @staticmethod
    def _lag(name: str, asked: Asked, partitions: Mapping[int, _Partition], epoch: str) -> dict[str, dict[str, int]]:
        """Return how far the pipeline is by partition: after a rewind, others may be further than the offset."""
        found = {}
        for number, (earliest, end, committed) in partitions.items():
            at = max(committed, asked.starts(number, epoch).start(name), earliest)
            found[str(number)] = {"position": at, "end": end, "waiting": max(0, end - at)}
        return found

    @staticmethod
    def _rewind(name: str, asked: Asked, epoch: str) -> dict[str, Any] | None:
        rewind = asked.rewinds.get(name)
        if rewind is None or rewind.epoch != epoch:
            return None
        progress = asked.progress(name, epoch)
        return {
            "id": rewind.id,
            "to": rewind.place,
            "by": rewind.by,
            "at": rfc3339(rewind.at),
            "state": "pending" if "pending" in progress.values() else "done",
            "partitions": progress,
        }


def _owners(replicas: Sequence[ReplicaStatus]) -> dict[int, tuple[str, PartitionStatus]]:
    """Return which replica has which partition: where two say so, the one that got it last."""
    found: dict[int, tuple[str, PartitionStatus]] = {}
    for replica in replicas:
        for number, status in replica.partitions.items():
            if number not in found or found[number][1].since < status.since:
                found[number] = (replica.node, status)
    return found


def _holds(status: PartitionStatus, name: str, *, step: bool) -> bool:
    """Return whether a pipeline holds a partition by one of its steps."""
    return status.held is not None and status.held.pipeline == name and bool(status.held.step) is step


def _held(number: int, status: PartitionStatus) -> dict[str, Any]:
    held = status.held
    assert held is not None, "see `_holds`"
    return {"partition": number, "step": held.step, "error": held.error, "since": rfc3339(held.since)}


def _state_size(name: str, owners: Mapping[int, tuple[str, PartitionStatus]]) -> dict[str, dict[str, int]]:
    """Return how much state a pipeline has in all partitions, by the places of its steps."""
    found: dict[str, dict[str, int]] = {}
    for _, status in owners.values():
        for size in status.state:
            if size.pipeline == name:
                step = found.setdefault(size.step, {"keys": 0, "bytes": 0})
                step["keys"] += size.keys
                step["bytes"] += size.bytes
    return found


def _activity(name: str, replicas: Sequence[ReplicaStatus]) -> dict[str, Any]:
    """Return what a pipeline has done on all replicas together, each since it started."""
    found = [replica.pipelines[name] for replica in replicas if name in replica.pipelines]
    errors = [each.last_error for each in found if each.last_error is not None]
    last = max(errors, key=lambda error: error.at, default=None)
    return {
        "events": {
            "taken": sum(each.taken for each in found),
            "published": sum(each.published for each in found),
            "dead_letters": sum(each.rejected for each in found),
        },
        "rates": {
            "published_per_second": round(sum(each.published_per_second for each in found), 3),
            "dead_letters_per_second": round(sum(each.rejected_per_second for each in found), 3),
        },
        "last_error": last and {"error": last.text, "origin": last.origin, "at": rfc3339(last.at)},
    }
