"""The settings of the kind `webhook`; at least `{kind: webhook, type: push, verify: {kind: github, secrets: […]}}`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from services.system_api.sources.http.received.options import MEGABYTE, HeaderValue, ReceivedOptions
from services.system_api.sources.http.webhook.verify_options import VerifyOptions
from services.system_api.sources.source import SourceOptions
from shared.expression.settings import ValueExpressionText
from shared.settings import Options


class BodyDigest(Options):
    """The body itself identifies a delivery: two that are equal are one."""

    body: Literal[True]
    """A digest of the body."""


class NoId(Options):
    """Nothing identifies a delivery: what a sender repeats is published again."""

    none: Literal[True]
    """No id."""


DeliveryId = HeaderValue | BodyDigest | NoId | ValueExpressionText

_DELIVERY_IDS: dict[str, DeliveryId] = {
    "github": HeaderValue(header="X-GitHub-Delivery"),
    "stripe": "id",
    "slack": "event_id",
    "standard": HeaderValue(header="webhook-id"),
}
"""By `verify.kind`."""


class WebhookSourceOptions(SourceOptions, ReceivedOptions):
    """A sender that delivers with `POST /hooks/{source}`."""

    kind: Literal["webhook"]
    """Webhooks that a third-party application sends."""

    verify: VerifyOptions
    """How the sender proves who it is. Nothing is stored of a request that does not."""

    delivery_id: DeliveryId | None = None
    """What identifies a delivery, so that a repeated one is published once: `{header: name}`, a JSONata expression over
    the body (`id`), `{body: true}` for a digest of the body, or `{none: true}`. GitHub, Stripe, Slack and Standard
    Webhooks have a default; the others need one."""

    body_limit: int = Field(default=MEGABYTE, ge=1024, le=25 * MEGABYTE)
    """Maximum size of a body in bytes. GitHub sends up to 25 MiB."""

    body_timeout: float = Field(default=10.0, gt=0, le=120)
    """Seconds in which the whole body must arrive."""

    rate: int = Field(default=1000, ge=1)
    """Verified deliveries in one second that each replica accepts; for those beyond it the answer is 429."""

    max_concurrent: int = Field(default=64, ge=1, le=10_000)
    """Requests in progress at once in each replica, whose bodies are in memory; for those beyond it the answer is 503.
    """

    window: float = Field(default=7 * 86_400.0, gt=0)
    """Seconds in which a repeated delivery is recognised by its id: longer than the sender repeats."""

    window_limit: int = Field(default=1_000_000, ge=1)
    """Maximum number of ids that are remembered, about 100 bytes each. Beyond it the oldest are forgotten early, which
    the metric `trelay_webhook_ids_forgotten_early_total` counts."""

    inbox_limit: int = Field(default=100_000, ge=1)
    """Maximum number of deliveries that wait to be published; for those beyond it the answer is 503."""

    inbox_bytes: int = Field(default=256 * MEGABYTE, ge=MEGABYTE)
    """Maximum size in bytes of the bodies that wait to be published."""

    @model_validator(mode="after")
    def _identified(self) -> Self:
        if self.delivery_id is None and self.verify.kind not in _DELIVERY_IDS:
            raise ValueError(
                f"delivery_id: required with verify.kind: {self.verify.kind}; expected {{header: name}}, an expression"
                " over the body, {body: true}, or {none: true} where repeats may be published again"
            )
        return self

    @property
    def identity(self) -> DeliveryId:
        """What identifies a delivery."""
        return _DELIVERY_IDS[self.verify.kind] if self.delivery_id is None else self.delivery_id

    def expressions(self) -> dict[str, str]:
        """Return the JSONata of these settings, by setting."""
        identity = self.identity
        return self.picking() | ({"delivery_id": identity} if isinstance(identity, str) else {})
