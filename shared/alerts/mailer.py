"""From the alert state to the mail server: one task, which waits for changes, due times and the server."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge

from shared.alerts.budget import Budget
from shared.alerts.mail import compose
from shared.alerts.options import AlertOptions
from shared.alerts.spool import RescuedSpool, Spool
from shared.alerts.state import AlertState, Intervals, Notification
from shared.errors import Malformed, Unavailable
from shared.http.health import Readiness
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

T = TypeVar("T")

PART = "mail"
"""The part in `/readyz`. It is only noted: no service waits for its mail server."""

_FIRST_DELAY, _LONGEST_DELAY = 1.0, 60.0
_COMPONENT = {"component": "alerts"}


class Transport(Protocol):
    """What mails, or notifications, are sent through: see `MailServer`."""

    async def send(self, sender: str, recipients: Sequence[str], mail: bytes) -> None: ...

    async def probe(self) -> None: ...


class SendingMetrics(NamedTuple):
    """The series of one transport, and its part in `/readyz`."""

    part: str
    sent: Counter
    refused: Counter
    waiting: Gauge


class NotifierMetrics:
    """The metrics of all services that get notifications."""

    def __init__(self, registry: CollectorRegistry) -> None:
        names = ["service"]
        self._sent = Counter(
            "trelay_notifications_sent", "Notifications that the service accepted.", names, registry=registry
        )
        self._refused = Counter(
            "trelay_notifications_refused", "Notifications that were refused permanently.", names, registry=registry
        )
        self._waiting = Gauge(
            "trelay_notifications_waiting", "Notifications that are not sent yet.", names, registry=registry
        )

    def of(self, service: str) -> SendingMetrics:
        """Return the series of one service."""
        return SendingMetrics(
            f"notify/{service}",
            self._sent.labels(service),
            self._refused.labels(service),
            self._waiting.labels(service),
        )


class MailerMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.sent = Counter("trelay_mails_sent", "Mails that the server accepted.", registry=registry)
        self.refused = Counter("trelay_mails_refused", "Mails that the server refused permanently.", registry=registry)
        self.waiting = Gauge("trelay_mails_waiting", "Mails that are not sent yet.", registry=registry)

    @property
    def series(self) -> SendingMetrics:
        """The series of the mail server."""
        return SendingMetrics(PART, self.sent, self.refused, self.waiting)


class Mailer:
    """`Alerts` that are sent as mails."""

    def __init__(
        self,
        options: AlertOptions,
        server: Transport,
        spool: Spool,
        metrics: SendingMetrics,
        *,
        readiness: Readiness,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._options = options
        self._server = server
        self._spool = spool
        self._metrics = metrics
        self._readiness = readiness
        self._clock = clock
        self._rng = rng
        self._budget = Budget(options.mails_per_hour, clock.time())
        intervals = Intervals(options.group_wait, options.repeat_interval, options.resolve_wait)
        self._state = AlertState(intervals, self._budget, clock.time())
        self._saved: object = []
        """The open problems that the spool has for the next process."""
        self._writing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._stopping = False
        self._unverified = True
        """Whether it is unknown that the server accepts mails: it is probed then, before there is a mail to send."""
        self._failures = 0
        self._retry_at = 0.0
        self.part = metrics.part
        readiness.note(self.part)

    def begin(self, kind: str, place: str, text: str) -> None:
        self._note(changed=self._state.begin(kind, place, text, self._clock.time()))

    def end(self, kind: str, place: str, text: str = "") -> None:
        self._note(changed=self._state.end(kind, place, text, self._clock.time()))

    def event(self, kind: str, place: str, text: str) -> None:
        self._note(changed=self._state.event(kind, place, text, self._clock.time()))

    def reported(self, kind: str, place: str) -> bool:
        return self._state.reported(kind, place)

    def adopt(self, kind: str, place: str, text: str, started_at: float) -> None:
        self._state.adopt(kind, place, text, started_at)
        self._note(changed=True)

    def hand_over(self, kind: str, place: str) -> None:
        self._state.hand_over(kind, place)
        self._note(changed=True)

    async def run(self) -> None:
        """Write and send mails until `stop`; then save what is known, and try once to send it. `finish` comes after."""
        self._restore(await asyncio.to_thread(self._spool.saved))
        while not self._stopping:
            self._changed.clear()
            await self._write(self._state.take(self._clock.time()))
            if self._clock.monotonic() >= self._retry_at:
                await self._send_waiting()
            await self._wait()
        await self._write(self._state.take(self._clock.time(), flush=True))
        await self._send_waiting()

    async def finish(self) -> None:
        """Save what `run` has not, where the server kept it waiting when it was stopped, and log what is not sent."""
        await self._write(self._state.take(self._clock.time(), flush=True))
        waiting = await asyncio.to_thread(len, self._spool)
        if waiting:
            kept = self._options.spool is not None
            logger.warning("stopping with unsent mails", extra={**_COMPONENT, "count": waiting, "kept": kept})

    def _restore(self, saved: object) -> None:
        if isinstance(saved, dict):
            now = self._clock.time()
            self._budget.restore(saved.get("budget"), now)
            self._state.restore(saved.get("open"), now)
            self._saved = saved.get("open")

    def stop(self) -> None:
        """Let `run` return soon."""
        self._stopping = True
        self._changed.set()

    def _note(self, *, changed: bool) -> None:
        if changed:
            self._changed.set()

    async def _wait(self) -> None:
        """Return when a mail is due, when a retry is due, or when a change may have moved either."""
        now = self._clock.time()
        due = self._state.due(now)
        waits = [] if due is None else [due - now]
        if self._unverified:
            waits.append(self._retry_at - self._clock.monotonic())
        seconds = max(0.0, min(waits)) if waits else None
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _write(self, notification: Notification | None) -> None:
        """Put a notification into the spool, if there is one, and what the next process needs, if that has changed."""
        async with self._writing:
            if notification is not None:
                await self._keep(self._spool_mail, self._composed(notification))
            open_ = [list(problem) for problem in self._state.save()]
            if notification is not None or open_ != self._saved:
                await self._keep(self._spool_state, {"budget": self._budget.save(), "open": open_})
                self._saved = open_

    def _composed(self, notification: Notification) -> bytes:
        return compose(
            notification,
            name=self._options.name,
            sender=self._options.sender,
            recipients=self._options.recipients,
            identity=f"{self._rng.getrandbits(96):024x}",
        )

    async def _keep(self, put: Callable[[T], None], content: T) -> None:
        """Call `put` in a thread, and again where the folder fails: what was put before is not put twice."""
        try:
            await asyncio.to_thread(put, content)
        except OSError as exc:
            await self._fall_back_to_memory(exc)
            put(content)

    def _spool_mail(self, mail: bytes) -> None:
        self._spool.put(mail)

    def _spool_state(self, state: object) -> None:
        self._spool.save(state)

    async def _send_waiting(self) -> None:
        """Send until no mail waits, or until the server does not accept the next one."""
        while (found := await asyncio.to_thread(self._spool.oldest)) is not None:
            name, mail = found
            self._metrics.waiting.set(await asyncio.to_thread(len, self._spool))
            if not await self._is_settled(mail):
                return
            try:
                await asyncio.to_thread(self._spool.drop, name)
            except OSError as exc:
                await self._fall_back_to_memory(exc)
                await asyncio.to_thread(self._spool.drop, name)
        self._metrics.waiting.set(0)
        if self._unverified and not self._stopping:
            await self._attempt(self._server.probe())

    async def _is_settled(self, mail: bytes) -> bool:
        """Send one mail; return whether it needs no other attempt."""
        try:
            sending = self._server.send(self._options.sender, self._options.recipients, mail)
            if not await self._attempt(sending):
                return False
        except Malformed as exc:
            self._metrics.refused.inc()
            text = mail.decode(errors="replace")
            logger.warning("mail refused, dropping it", extra={**_COMPONENT, "error": str(exc), "mail": text})
        else:
            self._metrics.sent.inc()
        return True

    async def _attempt(self, conversation: Awaitable[None]) -> bool:
        """Talk to the server; return whether it answered. If not, schedule a retry.

        Raises:
            Malformed: the server answered, and refused the mail for good.
        """
        self._unverified = False
        try:
            await conversation
        except Unavailable as exc:
            self._unverified = True
            self._failures += 1
            # Exponential, with up to half of it taken off at random, so that replicas do not retry together.
            ceiling = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(self._failures - 1, 10))
            self._retry_at = self._clock.monotonic() + ceiling * self._rng.uniform(0.5, 1.0)
            self._readiness.report(self.part, str(exc))
            return False
        except Malformed:
            self._mark_available()
            raise
        self._mark_available()
        return True

    def _mark_available(self) -> None:
        self._failures = 0
        self._readiness.report(self.part, None)

    async def _fall_back_to_memory(self, error: OSError) -> None:
        logger.warning("spool folder failed, keeping mails in memory", extra={**_COMPONENT, "error": str(error)})
        self._spool = await asyncio.to_thread(RescuedSpool, self._spool, self._options.max_unsent)
