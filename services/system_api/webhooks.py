"""The webhooks of this replica: the endpoint, and the upkeep of the inbox, for all sources that have one."""

from collections.abc import Mapping

from aiohttp import web

from services.system_api.sources.http.webhook.inbox.protocol import Inbox
from services.system_api.sources.http.webhook.metrics import WebhookMetrics
from services.system_api.sources.http.webhook.options import WebhookSourceOptions
from services.system_api.sources.http.webhook.receiver import Receiver
from services.system_api.sources.http.webhook.receiving import HookRoutes
from services.system_api.sources.http.webhook.upkeep import Upkeep
from services.system_api.sources.registry import AnySource
from shared.composition.parts import Parts


def webhook_sources(sources: Mapping[str, AnySource]) -> dict[str, WebhookSourceOptions]:
    """Return the sources that senders deliver to."""
    return {name: options for name, options in sources.items() if isinstance(options, WebhookSourceOptions)}


class Webhooks:
    """All webhook sources of the settings. Any replica receives for any of them."""

    def __init__(self, sources: Mapping[str, WebhookSourceOptions], inbox: Inbox, parts: Parts) -> None:
        metrics = WebhookMetrics(parts.health.registry, sources)
        self._upkeep = Upkeep(sources, inbox, metrics, parts.alerts, parts.clock)
        self._routes = HookRoutes(
            {name: Receiver(name, options, inbox, metrics, parts.clock) for name, options in sources.items()}
        )

    def add_routes(self, app: web.Application) -> None:
        """Add the endpoint."""
        self._routes.add_to(app)

    async def run(self) -> None:
        """Keep the inboxes in shape, until cancelled."""
        await self._upkeep.run()
