"""Where the status of a source changes; each change reaches the log, the metrics and the alerts."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.system_api.operations.checkpoints import OwnPart
from services.system_api.sources.source import Batch, Checkpoint
from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.part_problems import PartNotice
from services.system_api.supervisor.publisher import REFUSED
from services.system_api.supervisor.status import Notice, SourceStatus, State
from shared.alerts import Alerts
from shared.bus.protocol import Outgoing
from shared.events.headers import provenance_in
from shared.runtime.clock import Clock
from shared.runtime.rates import Rates
from shared.telemetry.hops import Hop

logger = logging.getLogger(__name__)

SOURCE, PART, DEAD_LETTER = "source", "part of source", "dead letter"
"""The kinds of the alerts."""


class Reporter:
    """Reports what happens to one source: an outage has one log line when it begins and one when it is over."""

    def __init__(self, name: str, alerts: Alerts, metrics: SystemMetrics, clock: Clock) -> None:
        self.status = SourceStatus(name, clock.time())
        self._name = name
        self._alerts = alerts
        self._metrics = metrics.of(name)
        self._clock = clock
        self._rates = Rates(clock.monotonic())
        self._fields: dict[str, object] = {"component": "source", "source": name}
        self._unwell_since: float | None = None
        """When the outage was first logged, by the monotonic clock; None while the source works."""
        self._degraded_since: float | None = None

    def standby(self) -> None:
        """Another replica runs the source, or is about to."""
        self._hand_over()
        self.status.standby(self._clock.time())
        self._degraded_since = None
        self.counted(OwnPart())
        # What the owner measures would stay here for as long as this process runs, and keep its alerts firing.
        self._metrics.waiting.set(0)
        self._metrics.slot_lag.set(0)
        self._log_recovery("source stopped; waiting for its lease")
        self._entered()

    def measure(self) -> SourceStatus:
        """Return the status with the rates of now."""
        status = self.status
        status.per_second = self._rates.per_second(self._clock.monotonic())
        status.reported = all(self._alerts.reported(*place) for place in self._alerted_places())
        return status

    def disclaim(self) -> None:
        """Forget what an earlier process of this replica has reported: the owner adopts it from the shared status."""
        self._alerts.hand_over(SOURCE, self._name)

    def adopt(self, published: Mapping[str, Any]) -> None:
        """Take over the alerts of the last owner, from the status that it has published."""
        if not published.get("reported"):
            return
        status, since = self.status, published["outage_since"]
        began = None if since is None else datetime.fromisoformat(since).timestamp()
        now = self._clock.time()
        status.adopt(published["error"] or "", began, tuple(published["problems"]), now)
        if began is not None:
            self._alerts.adopt(SOURCE, self._name, f"down: {status.error}", began)
        for part, text in status.noticed_parts.items():
            self._alerts.adopt(PART, f"{self._name}: {part}", text, now)

    def _hand_over(self) -> None:
        """Leave all alerts to the next owner."""
        for place in self._alerted_places():
            self._alerts.hand_over(*place)

    def _alerted_places(self) -> list[tuple[str, str]]:
        outage = [] if self.status.outage_since is None else [(SOURCE, self._name)]
        return [*outage, *((PART, f"{self._name}: {part}") for part in self.status.noticed_parts)]

    def owned(self, epoch: int) -> None:
        """This replica has the lease of the source, of this epoch."""
        self.status.epoch = epoch

    def disowned(self) -> None:
        """This replica has no lease of the source."""
        self.status.epoch = None

    def paused(self, by: str, reason: str) -> None:
        """An operator has paused the source."""
        if self.status.state is not State.PAUSED:
            logger.warning("source paused", extra=self._fields | {"by": by, "reason": reason})
        self._unwell_since = None
        self._alert(self.status.paused(self._clock.time(), f"paused by {by}{f': {reason}' if reason else ''}"))
        self._note_problems(())
        self._entered()

    def resuming(self, own: OwnPart, checkpoint: Checkpoint) -> None:
        """The source is about to be opened at a checkpoint."""
        self.status.resuming(own, checkpoint)
        self.counted(own)

    def counted(self, own: OwnPart) -> None:
        """Rows were counted that moved no checkpoint."""
        self._metrics.unaccounted.set(own.unaccounted)

    def starting(self) -> None:
        """The source is being opened; one that is down stays down until it answers."""
        self.status.starting(self._clock.time())
        self._entered()

    def blocked(self, error: str) -> None:
        """Trelay's own bus or database is unavailable. No alert: readiness has its own."""
        if self.status.state is not State.BLOCKED:
            self._log_problem(logging.WARNING, "source blocked", error)
        self.status.enter(State.BLOCKED, self._clock.time(), error)
        self._entered()

    def retrying(self, error: str) -> None:
        """The upstream is unavailable."""
        self._metrics.retries.inc()
        if self.status.failures == 0:
            self._log_problem(logging.WARNING, "source unavailable; retrying", error)
        self.status.retrying(error, self._clock.time())
        self._entered()

    def down(self, error: str) -> None:
        """The upstream is unavailable and the retry policy is exhausted."""
        self._metrics.retries.inc()
        notice = self.status.down(error, self._clock.time())
        if notice is not None:
            self._log_problem(logging.ERROR, "source down; probing", error)
        self._alert(notice)
        self._entered()

    def failed(self, error: str) -> None:
        """The source failed for another reason than an unavailable upstream."""
        notice = self.status.failed(error, self._clock.time())
        if notice is not None:
            self._log_problem(logging.ERROR, "source failed; restarting", error)
        self._alert(notice)
        self._entered()

    def restarted(self) -> None:
        """A run of the source has ended and another one begins."""
        self._metrics.restarts.inc()

    def polled(self, batch: Batch, took: float) -> None:
        """A poll succeeded; it took `took` seconds."""
        self._metrics.polls.inc()
        self._metrics.poll_seconds.observe(took)
        self._metrics.redelivered.inc(batch.redelivered)
        self._note_losses(batch)
        self.status.waiting = batch.waiting
        self._metrics.waiting.set(len(batch.waiting))
        if batch.slot_lag is not None:
            self._metrics.slot_lag.set(batch.slot_lag)
        self._note_problems(batch.problems)

    def _note_losses(self, batch: Batch) -> None:
        for loss in batch.losses:
            self._metrics.losses.inc(loss.count)
            self._metrics.lost_bytes.inc(loss.size)
            logger.error("data lost at the source", extra=self._fields | {"error": loss.text, "bytes": loss.size})
        for text in batch.taken_early:
            self._metrics.taken_early.inc()
            logger.warning("file changed after it was read; reading it again", extra=self._fields | {"error": text})

    def progressed(self, *, caught_up: bool) -> None:
        """What a poll found is being committed; when caught up, everything that was waiting upstream is published."""
        now = self._clock.time()
        self._alert(self.status.progressed(now, caught_up=caught_up))
        self._log_recovery("source recovered")
        if caught_up:
            self._metrics.caught_up.set(now)
        self._entered()

    def committed(self, batch: Batch, own: OwnPart, took: float) -> None:
        """A batch is visible on the bus, `took` seconds after it was submitted; `own` counts it."""
        self.counted(own)
        self._rates.add(len(batch.records), len(batch.rejects), self._clock.monotonic())
        self._metrics.published.inc(len(batch.records))
        self._metrics.commit_seconds.observe(took)
        if batch.records:
            self._observe_hop(batch.records[0])
        self.status.committed(batch.checkpoint, own)
        if batch.rejects:
            self._metrics.rejected.inc(len(batch.rejects))
            self._metrics.parked.inc(batch.parked)
            first = batch.rejects[0]
            fields = {"count": len(batch.rejects), "first": first.origin, "error": first.error}
            logger.warning("records dead-lettered", extra=self._fields | fields)
        for reject in batch.rejects:
            if reject.stage == REFUSED:
                self._alerts.event(DEAD_LETTER, f"source {self._name}", reject.error)

    def _observe_hop(self, event: Outgoing) -> None:
        if (provenance := provenance_in(event.headers)) is not None:
            seconds = self._clock.time() - provenance.read_ms / 1000
            self._metrics.hops.observe(Hop.COMMIT, self._name, seconds, event)

    def unsettled(self, error: str) -> None:
        """The step after a commit failed; the source repeats it on a later poll."""
        logger.warning("step after commit failed; repeating it later", extra=self._fields | {"error": error})

    def _entered(self) -> None:
        self._metrics.enter(self.status.state)

    def _note_problems(self, problems: tuple[str, ...]) -> None:
        notices = self.status.note_problems(problems)
        if any(notice.begun for notice in notices):
            if self._degraded_since is None:
                self._degraded_since = self._clock.monotonic()
            logger.error("source degraded", extra=self._fields | {"error": "; ".join(problems)})
        elif notices and not problems:
            logger.info("source no longer degraded", extra=self._fields | self._after(self._degraded_since))
            self._degraded_since = None
        for notice in notices:
            self._alert_part(notice)

    def _alert(self, notice: Notice | None) -> None:
        if notice is None:
            return
        change = self._alerts.begin if notice.begun else self._alerts.end
        change(SOURCE, self._name, notice.text)

    def _alert_part(self, notice: PartNotice) -> None:
        change = self._alerts.begin if notice.begun else self._alerts.end
        change(PART, f"{self._name}: {notice.part}", notice.text)

    def _log_problem(self, level: int, message: str, error: str) -> None:
        if self._unwell_since is None:
            self._unwell_since = self._clock.monotonic()
        logger.log(level, message, extra=self._fields | {"error": error})

    def _log_recovery(self, message: str) -> None:
        if self._unwell_since is not None:
            logger.info(message, extra=self._fields | self._after(self._unwell_since))
            self._unwell_since = None

    def _after(self, since: float | None) -> dict[str, object]:
        return {} if since is None else {"after_s": round(self._clock.monotonic() - since, 1)}
