"""All pipelines of the deployment, as any replica shows them."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from services.process_api.operations.controls import Controls, Request
from services.process_api.operations.requests import Asked
from services.process_api.operations.statuses import PartitionStatus, ReplicaStatus, Statuses
from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.selection import Selection
from shared.bus.bounded import bounded
from shared.bus.protocol import Bus, TopicPartition
from shared.bus.topics import TopicsOptions
from shared.errors import Unavailable
from shared.runtime.clock import Clock, rfc3339

_REQUESTS_TIMEOUT = 2.0
"""Seconds that a replica which has just started waits for what operators have asked."""

_BUS_TIMEOUT = 3.0
"""Seconds that the bus has for the offsets."""

_POSITIONS_TIMEOUT = 10.0

_NO_BUS = "the bus is not connected"
_HIDDEN = "requests of operators are not read yet; this takes longest where a replica was killed in a transaction"


class _Partition(NamedTuple):
    """A partition of the ingest topic."""

    earliest: int
    end: int
    committed: int


class Positions(NamedTuple):
    """Where a pipeline is."""

    offsets: dict[int, int]
    """The offset from which it goes on, by partition."""
    rewind: str
    """The id of its newest rewind, empty for none."""
    pending: bool
    """Whether a partition has not carried that out."""


class _Known(NamedTuple):
    """What was found out for one answer."""

    asked: Asked
    replicas: Sequence[ReplicaStatus]
    partitions: Mapping[int, _Partition] | None
    unknown: dict[str, str]
    """The parts that are not known now, and why."""


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
        self._epoch: str | None = None
        """Of the ingest topic, as far as known."""

    async def all(self, bus: Bus | None, request: Request | None = None) -> dict[str, dict[str, Any]]:
        """Return all pipelines by name, within some seconds; `unknown` names what could not be found out by then.

        `request` was just accepted, and this replica has not read it from the topic yet.
        """
        known = await self._look_up(bus)
        if request is not None:
            known = known._replace(asked=known.asked.with_record(*request))
        return {pipeline.name: self._one(pipeline, known) for pipeline in self._selection().pipelines}

    async def positions(self, bus: Bus, pipeline: str) -> Positions:
        """Return where a pipeline is, and its newest rewind. Raises `Unavailable`, after some seconds."""
        async with bounded(_POSITIONS_TIMEOUT, _HIDDEN):
            asked, epoch = await self._controls.fresh(bus), await bus.epoch(self._topics.ingest)
            partitions = await self._partitions(bus)
        lag = self._lag(pipeline, asked, partitions, epoch)
        newest = asked.rewinds.get(pipeline)
        current = newest is not None and newest.epoch == epoch
        pending = current and "pending" in asked.progress(pipeline).values()
        offsets = {number: lag[str(number)]["position"] for number in partitions}
        return Positions(offsets, "" if newest is None else newest.id, pending)

    async def _look_up(self, bus: Bus | None) -> _Known:
        unknown: dict[str, str] = {}
        asked, partitions = self._controls.asked, None
        if not await self._requests_known(bus):
            # What was read so far may be replaced by what is behind it, also where each pipeline goes on.
            asked = Asked()
            unknown["requests"] = unknown["lag"] = _NO_BUS if bus is None else _HIDDEN
        elif bus is None:
            unknown["lag"] = _NO_BUS
        else:
            partitions = await self._offsets(bus, unknown)
        if not self._statuses.is_known:
            unknown["replicas"] = _NO_BUS if bus is None else "the statuses of the other replicas are not read yet"
        return _Known(asked, self._statuses.all(), partitions, unknown)

    async def _requests_known(self, bus: Bus | None) -> bool:
        if bus is not None and not self._controls.is_known:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._controls.known(), _REQUESTS_TIMEOUT)
        return self._controls.is_known

    async def _offsets(self, bus: Bus, unknown: dict[str, str]) -> Mapping[int, _Partition] | None:
        try:
            async with bounded(_BUS_TIMEOUT, bus.problem or "the bus did not return the offsets in time"):
                self._epoch = await bus.epoch(self._topics.ingest)
                return await self._partitions(bus)
        except Unavailable as exc:
            unknown["lag"] = str(exc)
            return None

    async def _partitions(self, bus: Bus) -> dict[int, _Partition]:
        bounds = await bus.bounds(self._topics.ingest)
        places = [TopicPartition(self._topics.ingest, number) for number in sorted(bounds)]
        committed = await asyncio.gather(*(bus.committed(self._group, place) for place in places))
        return {
            place.partition: _Partition(*bounds[place.partition], bounds[place.partition][0] if at is None else at)
            for place, at in zip(places, committed, strict=True)
        }

    def _one(self, pipeline: Pipeline, known: _Known) -> dict[str, Any]:
        asked, replicas, partitions, unknown = known
        name = pipeline.name
        owners = _owners(replicas)
        held = [
            _held(number, status) for number, (_, status) in sorted(owners.items()) if _holds(status, name, step=True)
        ]
        control = asked.controls.get(name)
        paused = None
        if control is not None and control.paused:
            paused = {"by": control.by, "reason": control.reason, "at": rfc3339(control.at)}
        lag = None if partitions is None else self._lag(name, asked, partitions, self._epoch or "")
        running = "held" if held else "running"
        return {
            "state": "paused" if paused else "unknown" if "requests" in unknown else running,
            "unknown": unknown,
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
            "rewind": self._rewind(name, asked),
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
        written += [topics.ingest] if pipeline.parts > 1 else []
        return {"in": [topics.ingest], "out": written}

    @staticmethod
    def _lag(name: str, asked: Asked, partitions: Mapping[int, _Partition], epoch: str) -> dict[str, dict[str, int]]:
        """Return how far the pipeline is by partition: after a rewind, others may be further than the offset."""
        found = {}
        for number, (earliest, end, committed) in partitions.items():
            at = max(committed, asked.starts(number, epoch).start(name), earliest)
            found[str(number)] = {"position": at, "end": end, "waiting": max(0, end - at)}
        return found

    def _rewind(self, name: str, asked: Asked) -> dict[str, Any] | None:
        rewind = asked.rewinds.get(name)
        if rewind is None or rewind.epoch != (self._epoch or rewind.epoch):
            return None
        progress = asked.progress(name)
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
