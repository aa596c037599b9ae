"""`Alerts`, and what sends them for as long as a service runs."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TypedDict

from prometheus_client import CollectorRegistry

from shared.alerts.fanned_out import FannedOutAlerts
from shared.alerts.mailer import Mailer, MailerMetrics, NotifierMetrics, Transport
from shared.alerts.notifier import Notifier
from shared.alerts.options import AlertOptions, SmtpOptions
from shared.alerts.spool import FolderSpool, MemorySpool, Spool
from shared.errors import SettingsError
from shared.http.health import Readiness
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks

logger = logging.getLogger(__name__)

_FLUSH_TIMEOUT = 2.0
"""Seconds to send the last mails when the process ends; those in a folder are sent by the next process."""


class Alerts(Protocol):
    """What services call to alert DevOps.

    No call waits or fails. A problem may begin twice, and one that is not open may end. `kind` is one of few words that
    a mail groups by; `place` is a source, a client, a topic.
    """

    def begin(self, kind: str, place: str, text: str) -> None:
        """Report that a problem begins: at once, then every `repeat_interval` until it ends."""
        ...

    def end(self, kind: str, place: str, text: str = "") -> None:
        """Report that a problem ends."""
        ...

    def event(self, kind: str, place: str, text: str) -> None:
        """Report something that neither lasts nor ends; repetitions are counted for the next `repeat_interval`."""
        ...

    # A problem of something that moves between processes, such as a source, has one mail at its beginning, of one
    # process, and one at its end, of another.

    def reported(self, kind: str, place: str) -> bool:
        """Return whether a mail has reported the beginning of a problem that is open."""
        ...

    def adopt(self, kind: str, place: str, text: str, started_at: float) -> None:
        """Take over a problem whose beginning another process has reported: this one reports its end."""
        ...

    def hand_over(self, kind: str, place: str) -> None:
        """Forget a problem without a mail: another process adopts it, or begins it."""
        ...


@asynccontextmanager
async def alerting(
    options: AlertOptions,
    *,
    readiness: Readiness | None = None,
    registry: CollectorRegistry | None = None,
    clock: Clock = SYSTEM_CLOCK,
    rng: random.Random | None = None,
) -> AsyncIterator[Alerts]:
    """Send alerts for as long as the context lasts. On leaving, save what is known, and send it if possible.

    Raises:
        SettingsError: the spool folder is not writable, the CA file is not usable, or a URL of `notify` is wrong.
    """
    registry = registry or CollectorRegistry()
    shared: _Shared = {
        "readiness": readiness or Readiness(),
        "clock": clock,
        "rng": rng or random.SystemRandom(),
    }
    mailers: list[Mailer] = []
    if options.smtp is not None:
        server = await asyncio.to_thread(_mail_server, options.smtp)
        spool = await asyncio.to_thread(_spool, options)
        mailers.append(Mailer(options, server, spool, MailerMetrics(registry).series, **shared))
    mailers += await _notifiers(options, registry, shared)
    if not mailers:
        yield LoggedAlerts()
        return
    async with Tasks() as tasks:
        running = {tasks.start(f"alerts to {mailer.part}", mailer.run()) for mailer in mailers}
        try:
            yield mailers[0] if len(mailers) == 1 else FannedOutAlerts(mailers)
        finally:
            for mailer in mailers:
                mailer.stop()
            # Not cancelled at once: on Python 3.11 `asyncio.wait_for`, which aiosmtplib uses, loses a cancellation
            # that coincides with its result, and the task would then never end.
            await asyncio.wait(running, timeout=_FLUSH_TIMEOUT)
            for mailer in mailers:
                await mailer.finish()


def _mail_server(options: SmtpOptions) -> Transport:
    from shared.alerts.smtp import MailServer  # noqa: PLC0415 -- aiosmtplib takes long to import

    return MailServer(options)


async def _notifiers(options: AlertOptions, registry: CollectorRegistry, shared: "_Shared") -> list[Mailer]:
    """Return what sends to each service; the second of a kind is `slack-2`."""
    if not options.notify:
        return []
    metrics, names, mailers = NotifierMetrics(registry), Counter[str](), []
    for index, url in enumerate(options.notify):
        notifier = await asyncio.to_thread(Notifier, url, f"alerts.notify.{index}")
        names[notifier.name] += 1
        number = names[notifier.name]
        name = notifier.name if number == 1 else f"{notifier.name}-{number}"
        spool = await asyncio.to_thread(_spool, options, f"notify-{name}")
        mailers.append(Mailer(options, notifier, spool, metrics.of(name), **shared))
    return mailers


class _Shared(TypedDict):
    """What all senders take."""

    readiness: Readiness
    clock: Clock
    rng: random.Random


class LoggedAlerts:
    """`Alerts` without a mail server. Their callers have logged the reason already, at a level of their own."""

    def begin(self, kind: str, place: str, text: str) -> None:
        logger.debug("problem began", extra={"kind": kind, "place": place, "error": text})

    def end(self, kind: str, place: str, text: str = "") -> None:
        logger.debug("problem ended", extra={"kind": kind, "place": place, "reason": text})

    def event(self, kind: str, place: str, text: str) -> None:
        logger.debug("event occurred", extra={"kind": kind, "place": place, "error": text})

    def reported(self, kind: str, place: str) -> bool:  # noqa: ARG002 -- as the protocol has it
        return True

    def adopt(self, kind: str, place: str, text: str, started_at: float) -> None:
        fields = {"kind": kind, "place": place, "error": text, "since": started_at}
        logger.debug("problem adopted", extra=fields)

    def hand_over(self, kind: str, place: str) -> None:
        logger.debug("problem handed over", extra={"kind": kind, "place": place})


def _spool(options: AlertOptions, below: str = "") -> Spool:
    if options.spool is None:
        return MemorySpool(options.max_unsent)
    folder = options.spool / below
    try:
        return FolderSpool(folder, options.max_unsent)
    except OSError as exc:
        raise SettingsError(f"alerts.spool: {folder} cannot be written: {exc.strerror}") from exc
