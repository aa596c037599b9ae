"""Keeps the inbox small: forgets old ids, shows how full it is, and raises an alert while it is full."""

import logging
from collections.abc import Mapping

from services.system_api.sources.http.webhook.inbox.delivery import Limits
from services.system_api.sources.http.webhook.inbox.protocol import Inbox
from services.system_api.sources.http.webhook.metrics import WebhookMetrics
from services.system_api.sources.http.webhook.options import WebhookSourceOptions
from shared.alerts import Alerts
from shared.errors import Unavailable
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

INTERVAL = 10.0
"""Seconds between two looks."""
ALERT = "webhook inbox"
"""The kind of the alert."""


class Upkeep:
    """The inboxes of all webhook sources; every replica looks at them."""

    def __init__(
        self,
        sources: Mapping[str, WebhookSourceOptions],
        inbox: Inbox,
        metrics: WebhookMetrics,
        alerts: Alerts,
        clock: Clock,
    ) -> None:
        self._sources = sources
        self._inbox = inbox
        self._metrics = metrics
        self._alerts = alerts
        self._clock = clock
        self._full: set[str] = set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            for source, options in self._sources.items():
                try:
                    await self._look(source, options)
                except Unavailable as exc:
                    fields = {"component": "webhooks", "source": source, "error": str(exc)}
                    logger.debug("cannot look at inbox", extra=fields)
            await self._clock.sleep(INTERVAL)

    async def _look(self, source: str, options: WebhookSourceOptions) -> None:
        early = await self._inbox.forget(source, options.window, options.window_limit)
        fill = await self._inbox.fill(source)
        self._metrics.note_fill(source, fill, early)
        fields = {"component": "webhooks", "source": source, "deliveries": fill.rows, "bytes": fill.bytes}
        if Limits(options.inbox_limit, options.inbox_bytes).full(fill.rows, fill.bytes):
            if source not in self._full:
                self._full.add(source)
                logger.error("webhook inbox is full", extra=fields)
                text = f"{fill.rows} deliveries ({fill.bytes} bytes) wait to be published; senders get 503"
                self._alerts.begin(ALERT, source, text)
        elif source in self._full:
            self._full.remove(source)
            logger.info("webhook inbox has room again", extra=fields)
            self._alerts.end(ALERT, source)
