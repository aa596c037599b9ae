"""One place from which what happens to the stream reaches the log, the metrics and the people."""

import logging

from services.process_api.worker.batch import Batch, Watch
from services.process_api.worker.metrics import ProcessMetrics
from shared.alerts import Alerts
from shared.bus.protocol import TopicPartition
from shared.errors import PositionLost

logger = logging.getLogger(__name__)

_LOOKS = 6
"""Within so many, one that waits has said so again."""


class Reporter:
    """Tells what happens to the partitions that this replica drives."""

    def __init__(self, alerts: Alerts, metrics: ProcessMetrics) -> None:
        self._alerts = alerts
        self._metrics = metrics
        self._halted: dict[TopicPartition, int] = {}
        """Each with the looks since it was last told of."""

    @property
    def watch(self) -> Watch:
        """What times the steps of an event."""
        return self._metrics.watch

    def committed(self, position: TopicPartition, batch: Batch, seconds: float) -> None:
        """What became of a batch is visible."""
        self._metrics.committed(batch, seconds)
        if position in self._halted:
            del self._halted[position]
            self._alerts.end("process", _place(position), "it goes on")
        if batch.rejects:
            first = batch.rejects[0]
            logger.warning(
                "%s: %d to the dead letter; the first, %s: %s",
                first.pipeline or "process",
                len(batch.rejects),
                first.origin,
                first.error,
            )
        for pipeline, error in {reject.pipeline: reject.error for reject in reversed(batch.rejects)}.items():
            self._alerts.event("dead letter", pipeline.partition("@")[0] or "no pipeline", error)

    def halted(self, position: TopicPartition, error: str) -> None:
        """A step waits for something, and the partition with it."""
        self._halted[position] = 0
        self._alerts.begin("process", _place(position), error)

    def look(self) -> None:
        """Look, every few seconds, for partitions that wait no more without that anything was committed here.

        One that waits says so after each pause of its drive, a few seconds. One that does not has gone to another
        replica, or came back from there with the event done.
        """
        for position, looks in list(self._halted.items()):
            self._halted[position] = looks + 1
            if looks >= _LOOKS:
                del self._halted[position]
                self._alerts.end("process", _place(position), "it does not wait here any more")

    def too_large(self, position: TopicPartition, error: str) -> None:
        """The bus refused a transaction; the record is being found out."""
        logger.warning("%s: %s; what it was made of is tried one by one", _place(position), error)

    def lost(self, error: PositionLost) -> None:
        """Retention took events before they were read."""
        self._metrics.lost.inc(max(0, error.earliest - error.offset))
        text = f"{error}; events were lost, it goes on at the earliest"
        logger.error("%s", text)
        self._alerts.event("events lost", f"{error.topic}/{error.partition}", text)


def _place(position: TopicPartition) -> str:
    return f"{position.topic}/{position.partition}"
