"""The settings of this service, composed of what its parts declare."""

from typing import Self

from pydantic import Field, model_validator

from services.system_api.delivery.options import DeliverOptions
from services.system_api.sources.http.webhook.options import WebhookSourceOptions
from services.system_api.sources.registry import AnySource
from shared.composition.settings import SharedSettings
from shared.http.operators import OperatorOptions
from shared.http.server import ListenOptions
from shared.settings import Name, Options

SourceName = Name
"""Part of event ids, checkpoint keys, metrics and transaction names: short, and never changed."""


class SystemOptions(Options):
    """The section `system`."""

    listen: ListenOptions = ListenOptions(port=8081)
    """The listener for operators: health, metrics and `/sources`; and for senders of webhooks, which need nothing but
    `/hooks/`. No subscriber connects here."""

    operators: dict[Name, OperatorOptions] = Field(default_factory=dict)
    """Who may pause, resume and rewind sources, and read `GET /sources`, by name. Without any, requests from this
    machine itself may, and `GET /sources` is as open as the listener."""

    node: str | None = Field(default=None, min_length=1, max_length=100)
    """Name of this replica, unique among the running ones. A replica that keeps its name owns its sources again at once
    after a crash. By default each start has a random name, and waits until the leases of the previous one expire."""

    lease_seconds: float = Field(default=6.0, ge=0.5, le=60)
    """Seconds after which another replica takes over the sources of one that failed."""

    watermark_interval: float | None = Field(default=10.0, ge=1)
    """Seconds between two watermarks of a source, which tell subscribers up to when it has been read. Each is one small
    transaction. `null` for none; with `deliver` there are none."""

    deliver: DeliverOptions | None = None
    """Deliver events directly to `POST /entity` of the experience layer, with no bus between the layers. They arrive at
    least once, with ids that do not change."""

    sources: dict[SourceName, AnySource] = Field(default_factory=dict)
    """By name. A source with a new name is a new source: it starts from the beginning."""

    @model_validator(mode="after")
    def _channels_for_delivery(self) -> Self:
        without = [name for name, source in self.sources.items() if source.channel is None]
        if self.deliver is not None and without:
            raise ValueError(f"source {without[0]!r} needs a channel: with `deliver`, there are no pipelines")
        webhooks = [name for name, source in self.sources.items() if isinstance(source, WebhookSourceOptions)]
        if self.deliver is not None and self.deliver.state is not None and webhooks:
            raise ValueError(
                f"source {webhooks[0]!r} needs the database for its webhooks: with `deliver.state`, there is none"
            )
        return self


class SystemSettings(SharedSettings):
    """The sections of the settings file that this service reads."""

    system: SystemOptions = SystemOptions()

    @property
    def node(self) -> str | None:
        """The name that the settings give this replica."""
        return self.system.node
