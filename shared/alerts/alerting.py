"""The way to people, for as long as a service runs."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from prometheus_client import CollectorRegistry

from shared.alerts.options import AlertOptions
from shared.alerts.sending import Post, PostMetrics
from shared.alerts.smtp import MailServer
from shared.alerts.spool import FolderSpool, MemorySpool, Spool
from shared.errors import SettingsError
from shared.http.health import Readiness
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks

logger = logging.getLogger(__name__)

_LAST_MAILS_WITHIN = 2.0
"""Seconds that mails have when the process ends; those in a folder are sent by the next one."""


class Alerts(Protocol):
    """The way to people. No call waits or fails; begun twice, or ended without a beginning, is no matter.

    `kind` is one of few words that a mail groups by, `place` is where: a source, a client, a topic.
    """

    def begin(self, kind: str, place: str, text: str) -> None:
        """A problem begins: told once, again while it lasts at the pace of the digest, and when it ends."""
        ...

    def end(self, kind: str, place: str, text: str = "") -> None:
        """A problem is over."""
        ...

    def event(self, kind: str, place: str, text: str) -> None:
        """Something happens that neither lasts nor ends; told again, with how often, at the pace of the digest."""
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
    """Send alerts for as long as the context lasts. On leaving, what is known is written down and sent if it can be.

    Raises:
        SettingsError: the spool's folder cannot be written, or the file of authorities cannot be read.
    """
    if options.smtp is None:
        yield LoggedAlerts()
        return
    server = await asyncio.to_thread(MailServer, options.smtp)
    spool = await asyncio.to_thread(_spool, options)
    post = Post(
        options,
        server,
        spool,
        PostMetrics(registry or CollectorRegistry()),
        readiness=readiness or Readiness(),
        clock=clock,
        rng=rng or random.SystemRandom(),
    )
    async with Tasks() as tasks:
        running = tasks.start("alerts", post.run())
        try:
            yield post
        finally:
            post.end_soon()
            # Not cancelled at once: on Python 3.11 `asyncio.wait_for`, which aiosmtplib uses, loses a cancellation
            # that meets its result, and the task would then run for ever.
            await asyncio.wait({running}, timeout=_LAST_MAILS_WITHIN)


class LoggedAlerts:
    """Alerts where no mail server is named. Whoever alerts has logged it already, at a level of its own."""

    def begin(self, kind: str, place: str, text: str) -> None:
        """A problem begins."""
        logger.debug("no mail server for: %s %s: %s", kind, place, text)

    def end(self, kind: str, place: str, text: str = "") -> None:
        """A problem is over."""
        logger.debug("no mail server for: over: %s %s: %s", kind, place, text)

    def event(self, kind: str, place: str, text: str) -> None:
        """Something happens."""
        logger.debug("no mail server for: %s %s: %s", kind, place, text)


def _spool(options: AlertOptions) -> Spool:
    if options.spool is None:
        return MemorySpool(options.keep)
    try:
        return FolderSpool(options.spool, options.keep)
    except OSError as exc:
        raise SettingsError(f"alerts.spool: {options.spool} cannot be written: {exc.strerror}") from exc
