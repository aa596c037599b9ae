"""The one place from which events of the stream reach the log, the metrics and the alerts."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from services.process_api.operations.activity import Activities
from services.process_api.pipeline.steps.outcome import Blocked
from services.process_api.worker.batch import Batch, StepTimer
from services.process_api.worker.metrics import ProcessMetrics
from shared.alerts import Alerts
from shared.bus.protocol import Record, TopicPartition
from shared.errors import PositionLost
from shared.runtime.clock import Clock
from shared.telemetry.tracing import NO_TRACING, Tracing

logger = logging.getLogger(__name__)

PAUSED = "partition paused"
"""The kind of the alert about a partition that waits for a dependency of a step."""

_CHECKS_BEFORE_EXPIRY = 6
"""A partition that still waits reports that again within so many checks."""


def _ignore(_batch: Batch) -> None:
    """Do nothing."""


@dataclass(slots=True)
class _Pause:
    since: float
    checks: int = 0
    """Since it was reported last."""


class Reporter:
    """Reports on the partitions that this replica owns."""

    def __init__(
        self,
        alerts: Alerts,
        metrics: ProcessMetrics,
        clock: Clock,
        activities: Activities | None = None,
        observe: Callable[[Batch], None] = _ignore,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        """`observe` gets each batch with events of a shadowed pipeline that became visible; it must return at once."""
        self._activities = activities or Activities(clock)
        self._observe = observe
        self._tracing = tracing
        self._alerts = alerts
        self._metrics = metrics
        self._clock = clock
        self._paused: dict[TopicPartition, _Pause] = {}
        self._first: WeakKeyDictionary[Batch, Record] = WeakKeyDictionary()
        """Of batches that are filled or on their way to the bus: the first record, which has waited longest."""

    @property
    def step_timer(self) -> StepTimer:
        """Starts to time the steps of an event."""
        return self._metrics.step_timer

    def ran(self, batch: Batch, records: Sequence[Record]) -> None:
        """Report the records that were added to a batch."""
        if records:
            self._first.setdefault(batch, records[0])
        if self._tracing.on:
            batch.parents.update(self._tracing.parents(records))

    def committed(self, position: TopicPartition, batch: Batch, seconds: float, group: str = "") -> None:
        """Report a batch of a consumer group that became visible."""
        self._metrics.committed(batch, seconds)
        if (oldest := self._first.pop(batch, None)) is not None and batch.outputs:
            self._metrics.processed(oldest)
        self._tracing.processed(*position, group, batch.parents, seconds)
        if batch.shadowed:
            self._observe(batch)
        self._activities.committed(batch.tallies, batch.rejects)
        if position in self._paused:
            self._resume(position, "events are processed again")
        if batch.rejects:
            first = batch.rejects[0]
            logger.warning(
                "records dead-lettered",
                extra=_fields(
                    position,
                    count=len(batch.rejects),
                    first=first.origin,
                    pipeline=first.pipeline,
                    error=first.error,
                ),
            )
        for pipeline, error in {reject.pipeline: reject.error for reject in reversed(batch.rejects)}.items():
            self._alerts.event("dead letter", pipeline.partition("@")[0] or "no pipeline", error)

    def paused(self, position: TopicPartition, error: str, blocked: Blocked | None = None) -> None:
        """Report that a step waits for something, and its partition with it; repeated while that lasts.

        `blocked` names the pipeline and the step.
        """
        step = {} if blocked is None else {"pipeline": blocked.pipeline, "step": blocked.place}
        pause = self._paused.get(position)
        if pause is None:
            self._paused[position] = _Pause(self._clock.monotonic())
            logger.warning(PAUSED, extra=_fields(position, error=error, **step))
        else:
            pause.checks = 0
        where = f"{blocked.pipeline}, {blocked.place}: " if blocked is not None else ""
        self._alerts.begin(PAUSED, _name(position), f"{where}{error}")

    def paused_by_operator(self, position: TopicPartition) -> None:
        """Report that an operator paused the pipeline that holds a partition: from now on nothing is expected of it."""
        if position in self._paused:
            self._resume(position, "paused by an operator")

    def held(self, blocked: Blocked, seconds: float) -> None:
        """Report for how long a step has held a partition since the last report."""
        self._metrics.blocked_seconds.labels(blocked.pipeline, blocked.place).inc(seconds)

    def expire_pauses(self, held: Collection[TopicPartition] = ()) -> None:
        """End the pauses of partitions that neither report them any more nor commit; called every few seconds.

        Those of `held` go on: an attempt may take long.

        A paused partition reports that again after each restart of its worker, within seconds. One that does not was
        assigned to another replica, or returned from there after the event was processed.
        """
        for position, pause in list(self._paused.items()):
            pause.checks = 0 if position in held else pause.checks + 1
            if pause.checks > _CHECKS_BEFORE_EXPIRY:
                self._resume(position, "the partition does not wait on this replica any more")

    def restored(self, position: TopicPartition, count: int, seconds: float, *, complete: bool) -> None:
        """Report that the state of a partition was restored, from so many records of its changelog."""
        fields = _fields(position, count=count, seconds=round(seconds, 3))
        if complete:
            logger.info("state restored", extra=fields)
        else:
            logger.warning("state dropped: it does not belong to the committed offset", extra=fields)

    def rewound(self, position: TopicPartition, pipeline: str, fields: Mapping[str, object]) -> None:
        """Report that a rewind was carried out in a partition."""
        logger.warning("pipeline rewound", extra=_fields(position, pipeline=pipeline, **fields))

    def rewind_refused(self, position: TopicPartition, pipeline: str, request: str) -> None:
        """Report that a pipeline keeps state by now, and is not rewound as it was asked for."""
        fields = _fields(position, pipeline=pipeline, request=request)
        logger.error("rewind refused: the pipeline keeps state", extra=fields)

    def too_large(self, position: TopicPartition, error: str) -> None:
        """Report that the bus refused a transaction, whose records are isolated now."""
        logger.warning("transaction too large, retrying its records individually", extra=_fields(position, error=error))

    def position_lost(self, error: PositionLost) -> None:
        """Report that retention deleted events before they were read."""
        count = max(0, error.earliest - error.offset)
        self._metrics.lost.inc(count)
        position = TopicPartition(error.topic, error.partition)
        logger.error(
            "events lost to retention, resuming at the earliest offset",
            extra=_fields(position, offset=error.offset, earliest=error.earliest, count=count),
        )
        self._alerts.event("events lost", _name(position), str(error))

    def _resume(self, position: TopicPartition, text: str) -> None:
        after = self._clock.monotonic() - self._paused.pop(position).since
        logger.info("partition resumed", extra=_fields(position, after_s=round(after, 1), reason=text))
        self._alerts.end(PAUSED, _name(position), text)


def _name(position: TopicPartition) -> str:
    return f"{position.topic}/{position.partition}"


def _fields(position: TopicPartition, **more: Any) -> dict[str, Any]:
    return {"component": "pipelines", "topic": position.topic, "partition": position.partition, **more}
