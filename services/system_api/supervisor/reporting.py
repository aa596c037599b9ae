"""One place where a source's condition changes: it reaches the log, the metrics and the people from here."""

import logging

from services.system_api.sources.source import Batch
from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.status import Condition, Notice, State
from shared.alerts import Alerts
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)


class Reporter:
    """Tells what happens to one source."""

    def __init__(self, name: str, alerts: Alerts, metrics: SystemMetrics, clock: Clock) -> None:
        self.condition = Condition(name, clock.time())
        self._name = name
        self._alerts = alerts
        self._metrics = metrics.of(name)
        self._clock = clock

    def standby(self) -> None:
        """The source is somebody else's."""
        self._tell("source", self.condition.standby(self._clock.time()))
        self._entered()

    def opening(self) -> None:
        """The source is ours and is being opened; where it is down, it stays so until it answers."""
        self.condition.opening(self._clock.time())
        self._entered()

    def blocked(self, error: str) -> None:
        """Our own bus or database does not answer: said once here, and alerted by whoever watches those."""
        if self.condition.state is not State.BLOCKED:
            logger.warning("source %s waits: %s", self._name, error)
        self.condition.enter(State.BLOCKED, self._clock.time(), error)
        self._entered()

    def retrying(self, error: str) -> None:
        """The upstream did not answer."""
        self._metrics.retries.inc()
        if self.condition.failures == 0:
            logger.warning("source %s: %s; it is tried again", self._name, error)
        self.condition.retrying(error, self._clock.time())
        self._entered()

    def down(self, error: str) -> None:
        """The retry policy is spent."""
        self._tell("source", self.condition.down(error, self._clock.time()))
        self._entered()

    def faulty(self, error: str) -> None:
        """Something else is wrong with it than its upstream's absence."""
        self._tell("source", self.condition.faulty(error, self._clock.time()))
        self._entered()

    def rebuilt(self) -> None:
        """A life of the source has ended and another begins."""
        self._metrics.rebuilds.inc()

    def polled(self, batch: Batch, took: float) -> None:
        """A poll succeeded."""
        self._metrics.polls.inc()
        self._metrics.poll_seconds.observe(took)
        self._tell("source-part", self.condition.in_part(batch.problem))

    def progressed(self, *, caught_up: bool) -> None:
        """What a poll found is on its way; when caught up, everything that was waiting upstream is published."""
        now = self._clock.time()
        self._tell("source", self.condition.progressed(now, caught_up=caught_up))
        if caught_up:
            self._metrics.caught_up.set(now)
        self._entered()

    def committed(self, batch: Batch, took: float) -> None:
        """A batch is visible on the bus."""
        self._metrics.published.inc(len(batch.records))
        self._metrics.commit_seconds.observe(took)
        self.condition.saved(batch.checkpoint)
        if batch.rejects:
            self._metrics.rejected.inc(len(batch.rejects))
            first = batch.rejects[0]
            logger.warning(
                "source %s: %d to the dead letter; the first, %s: %s",
                self._name,
                len(batch.rejects),
                first.origin,
                first.error,
            )

    def unsettled(self, error: str) -> None:
        """What follows a commit did not work; the source does it later."""
        logger.warning("source %s: %s; it is done later", self._name, error)

    def _entered(self) -> None:
        self._metrics.enter(self.condition.state)

    def _tell(self, kind: str, notice: Notice | None) -> None:
        if notice is None:
            return
        if notice.begun:
            logger.error("%s", notice.text)
            self._alerts.begin(kind, self._name, notice.text)
        else:
            logger.info("%s", notice.text)
            self._alerts.end(kind, self._name, notice.text)
