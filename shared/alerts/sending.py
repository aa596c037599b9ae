"""From the board to the mail server: one task, which waits for news, for the pace and for the server."""

import asyncio
import logging
import random
from collections.abc import Awaitable
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge

from shared.alerts.board import Board, Pace, Report
from shared.alerts.budget import Budget
from shared.alerts.mail import compose
from shared.alerts.options import AlertOptions
from shared.alerts.smtp import MailServer
from shared.alerts.spool import MemorySpool, Spool
from shared.errors import Malformed, Unavailable
from shared.http.health import Readiness
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

PART = "mail"
"""Its name in `/readyz`, where it is only noted: no service waits for its mail server."""

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0


class PostMetrics:
    """What the post tells."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.sent = Counter("trelay_mails_sent", "Mails that the mail server has taken.", registry=registry)
        self.refused = Counter("trelay_mails_refused", "Mails that it will never take.", registry=registry)
        self.waiting = Gauge("trelay_mails_waiting", "Mails that are not sent yet.", registry=registry)


class Post:
    """Alerts that become mails."""

    def __init__(
        self,
        options: AlertOptions,
        server: MailServer,
        spool: Spool,
        metrics: PostMetrics,
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
        self._dice = rng
        self._budget = Budget(options.mails_per_hour, clock.time())
        self._board = Board(Pace(options.gather, options.digest_interval), self._budget, clock.time())
        self._changed = asyncio.Event()
        self._ending = False
        self._in_doubt = True
        """Whether it is not known that the server takes mails: it is asked then, before there is one to send."""
        self._failures = 0
        self._try_again_at = 0.0
        readiness.note(PART)

    def begin(self, kind: str, place: str, text: str) -> None:
        """A problem begins."""
        self._note(changed=self._board.begin(kind, place, text, self._clock.time()))

    def end(self, kind: str, place: str, text: str = "") -> None:
        """A problem is over."""
        self._note(changed=self._board.end(kind, place, text, self._clock.time()))

    def event(self, kind: str, place: str, text: str) -> None:
        """Something happens."""
        self._note(changed=self._board.event(kind, place, text, self._clock.time()))

    async def run(self) -> None:
        """Write and send mails until told to end; then write down what is known, and try once to send it."""
        self._restore(await asyncio.to_thread(self._spool.saved))
        while not self._ending:
            self._changed.clear()
            await self._write(self._board.take(self._clock.time()))
            if self._clock.monotonic() >= self._try_again_at:
                await self._send_waiting()
            await self._rest()
        await self._write(self._board.take(self._clock.time(), hurry=True))
        await self._send_waiting()
        waiting = await asyncio.to_thread(len, self._spool)
        if waiting:
            logger.warning("%d mails are not sent yet", waiting, extra={"kept": self._options.spool is not None})

    def _restore(self, saved: object) -> None:
        """Go on from what an earlier process wrote down."""
        if isinstance(saved, dict):
            now = self._clock.time()
            self._budget.restore(saved.get("budget"), now)
            self._board.restore(saved.get("open"), now)

    def end_soon(self) -> None:
        """Let `run` come to its end."""
        self._ending = True
        self._changed.set()

    def _note(self, *, changed: bool) -> None:
        if changed:
            self._changed.set()

    async def _rest(self) -> None:
        """Return when a mail is due, or is to be tried again, or something has changed that decides on that."""
        now = self._clock.time()
        due = self._board.due(now)
        waits = [] if due is None else [due - now]
        if self._in_doubt:
            waits.append(self._try_again_at - self._clock.monotonic())
        seconds = max(0.0, min(waits)) if waits else None
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _write(self, report: Report | None) -> None:
        if report is None:
            return
        mail = compose(
            report,
            name=self._options.name,
            sender=self._options.sender,
            recipients=self._options.recipients,
            identity=f"{self._dice.getrandbits(96):024x}",
        )
        try:
            await asyncio.to_thread(self._keep, mail)
        except OSError as exc:
            self._forsake_folder(exc)
            self._keep(mail)

    def _keep(self, mail: bytes) -> None:
        self._spool.put(mail)
        self._spool.save({"budget": self._budget.save(), "open": self._board.save()})

    async def _send_waiting(self) -> None:
        """Send until nothing waits, or until the server does not take the next."""
        while (found := await asyncio.to_thread(self._spool.oldest)) is not None:
            name, mail = found
            self._metrics.waiting.set(await asyncio.to_thread(len, self._spool))
            if not await self._taken(mail):
                return
            try:
                await asyncio.to_thread(self._spool.drop, name)
            except OSError as exc:
                self._forsake_folder(exc)
        self._metrics.waiting.set(0)
        if self._in_doubt and not self._ending:
            await self._answers(self._server.probe())

    async def _taken(self, mail: bytes) -> bool:
        """Send one mail; whether it needs no other try."""
        try:
            sending = self._server.send(self._options.sender, self._options.recipients, mail)
            if not await self._answers(sending):
                return False
        except Malformed as exc:
            self._metrics.refused.inc()
            logger.warning("a mail is dropped: %s", exc, extra={"mail": mail.decode(errors="replace")})
        else:
            self._metrics.sent.inc()
        return True

    async def _answers(self, conversation: Awaitable[None]) -> bool:
        """Talk to the server; when it does not answer, note it and when to try again.

        Raises:
            Malformed: as the conversation does; the server has answered then.
        """
        self._in_doubt = False
        try:
            await conversation
        except Unavailable as exc:
            self._in_doubt = True
            self._failures += 1
            # Doubling, and a random part of half of it less, so that replicas do not come together.
            ceiling = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(self._failures - 1, 10))
            self._try_again_at = self._clock.monotonic() + ceiling * self._dice.uniform(0.5, 1.0)
            self._readiness.report(PART, str(exc))
            return False
        except Malformed:
            self._answered()
            raise
        self._answered()
        return True

    def _answered(self) -> None:
        self._failures = 0
        self._readiness.report(PART, None)

    def _forsake_folder(self, error: OSError) -> None:
        logger.warning("the spool's folder fails, mails are kept in memory from now on: %s", error)
        self._spool = MemorySpool(self._options.keep)
