"""What operators ask about a source, answered by any replica from the bus and the upstream; nothing is changed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.system_api.operations.previewing import preview, saved
from services.system_api.operations.reconciling import reconcile
from services.system_api.sources.capabilities import Inquirable, Place
from services.system_api.sources.http.webhook.inbox.protocol import Inbox
from services.system_api.sources.http.webhook.opening import WebhookSourceKind
from services.system_api.sources.registry import AnySource, build_source
from services.system_api.sources.source import SourceOpener
from shared.bus.topics import TopicsOptions
from shared.composition.parts import Parts
from shared.http.commands import refuse


class Inquiries:
    """Answers about the sources. All methods raise `Unavailable` if the bus or the upstream does not answer."""

    def __init__(
        self,
        sources: Mapping[str, AnySource],
        topics: TopicsOptions,
        parts: Parts,
        inbox: Inbox | None = None,
        *,
        delivers: bool = False,
    ) -> None:
        """`inbox` is that of the webhooks, None where there is no database.

        `delivers` is whether events are delivered directly, so that what is published is not on the bus.
        """
        self._inbox = inbox
        self._delivers = delivers
        self._sources = sources
        self._topics = topics
        self._parts = parts

    def opener(self, name: str) -> SourceOpener:
        """Return what opens a source to run it."""
        options = self._sources[name]
        if isinstance(options, WebhookSourceKind):
            return options.opener(name, self._parts.clock, self._parts.rng, self._inbox)
        return build_source(name, options, self._parts.clock, self._parts.rng)

    def inquirer(self, name: str) -> SourceOpener:
        """Return what opens a source to ask it, beside the one that runs."""
        options = self._sources[name]
        if isinstance(options, Inquirable):
            return options.inquirer(name, self._parts.clock, self._parts.rng)
        return self.opener(name)

    async def position(self, name: str) -> Mapping[str, str]:
        """Return the whole saved position of a source."""
        found = await saved(self._parts.bus.connected, self._topics.checkpoints, name)
        return {part: value.decode(errors="replace") for part, value in found.items()}

    async def preview(self, name: str, place: Place) -> Mapping[str, Any]:
        """Return what a rewind would do. Raises `Malformed`, `SettingsError`."""
        return await preview(self._parts.bus.connected, self._topics.checkpoints, name, place, self.inquirer(name))

    async def reconcile(self, name: str, since: datetime | None, until: datetime | None) -> Mapping[str, Any]:
        """Return what the upstream has and what is published, within [since, until), or of all.

        Raises:
            Malformed: the source cannot be compared so.
            ProblemError: 409, where events are delivered directly.
        """
        if self._delivers:
            refuse(
                409,
                f"source {name} delivers directly (`system.deliver`): what was published is on the bus of the "
                f"experience layer only; `GET /sources/{name}` counts what was delivered",
            )
        bus = self._parts.bus.connected
        topic = self._topics.ingest if self._sources[name].channel is None else self._topics.publish
        checkpoint = await saved(bus, self._topics.checkpoints, name)
        return await reconcile(bus, topic, name, (self.inquirer(name), checkpoint), since, until)
