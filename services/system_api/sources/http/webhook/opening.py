"""Opens a source of the kind `webhook` at a checkpoint."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.system_api.sources.http.trial import Trial
from services.system_api.sources.http.webhook.inbox.protocol import Inbox
from services.system_api.sources.http.webhook.options import WebhookSourceOptions
from services.system_api.sources.http.webhook.source import WebhookSource
from services.system_api.sources.source import Checkpoint, EventBuilder, Source, SourceOpener
from shared.errors import SettingsError
from shared.runtime.clock import Clock


class WebhookSourceKind(WebhookSourceOptions):
    """A sender of webhooks."""

    def opener(self, name: str, clock: Clock, rng: random.Random, inbox: Inbox | None = None) -> SourceOpener:
        """Return what opens the source of this name; `inbox` is where `POST /hooks/{source}` stores deliveries."""
        return webhook_source(name, self, inbox, clock, rng)

    async def probe(self, name: str) -> str:
        """Return what the sender needs to know; there is nothing to connect to."""
        return f"senders deliver to POST /hooks/{name}"


def webhook_source(
    name: str, options: WebhookSourceOptions, inbox: Inbox | None, clock: Clock, rng: random.Random
) -> SourceOpener:
    """Return what opens the source of this name."""
    place = f"system.sources.{name}"
    tried = Trial(place, options.expressions())

    @asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        if inbox is None:
            raise SettingsError(f"{place}.kind: webhook needs the database of the section `database`; there is none")
        await tried.check()
        builder = EventBuilder(name, options.type, options.channel, clock, rng)
        async with WebhookSource.opened(name, options, inbox, builder, checkpoint) as source:
            yield source

    return open_source
