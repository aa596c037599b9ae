"""How the sender of a webhook proves who it is: the settings below `verify`."""

import base64
import binascii
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from shared.http.client.options import HeaderName
from shared.settings import Options, Secret

Secrets = Annotated[tuple[Secret, ...], Field(min_length=1, max_length=10)]
"""The secrets that are accepted: one, or several while they are rotated."""

STANDARD_PREFIX = "whsec_"


class GithubOptions(Options):
    """The header `X-Hub-Signature-256`, as GitHub, and others that took its scheme, send it."""

    kind: Literal["github"]
    """As GitHub signs."""
    secrets: Secrets
    """The secrets of the webhook; several while they are rotated."""


class StripeOptions(Options):
    """The header `Stripe-Signature`."""

    kind: Literal["stripe"]
    """As Stripe signs."""
    secrets: Secrets
    """The signing secrets of the endpoint (`whsec_…`); several while they are rotated."""
    tolerance: float = Field(default=300.0, gt=0, le=3600)
    """Seconds that the time in the signature may differ from the clock of this replica."""


class SlackOptions(Options):
    """The headers `X-Slack-Signature` and `X-Slack-Request-Timestamp`. The challenge of Slack is answered."""

    kind: Literal["slack"]
    """As Slack signs."""
    secrets: Secrets
    """The signing secrets of the app; several while they are rotated."""
    tolerance: float = Field(default=300.0, gt=0, le=3600)
    """Seconds that the time of the request may differ from the clock of this replica."""


class StandardOptions(Options):
    """The headers `webhook-id`, `webhook-timestamp` and `webhook-signature` of Standard Webhooks."""

    kind: Literal["standard"]
    """As Standard Webhooks (https://www.standardwebhooks.com) signs, with a symmetric key."""
    secrets: Secrets
    """The secrets in base64, with or without the prefix `whsec_`; several while they are rotated."""
    tolerance: float = Field(default=300.0, gt=0, le=3600)
    """Seconds that the time of the request may differ from the clock of this replica."""

    @field_validator("secrets")
    @classmethod
    def _in_base64(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            try:
                standard_key(secret)
            except (binascii.Error, ValueError) as exc:
                raise ValueError("found a secret that is not base64 after the prefix whsec_") from exc
        return secrets


class HmacOptions(Options):
    """An HMAC of the body in a header of your choice."""

    kind: Literal["hmac"]
    """An HMAC of the body."""
    secrets: Secrets
    """The keys; several while they are rotated."""
    header: HeaderName
    """The header with the signature, such as `X-Shopify-Hmac-SHA256`."""
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    """The hash function."""
    encoding: Literal["hex", "base64"] = "hex"
    """How the signature is written."""
    prefix: str = ""
    """What stands before the signature in the header, such as `sha256=`."""


class BearerOptions(Options):
    """A token in the header `Authorization: Bearer …`."""

    kind: Literal["bearer"]
    """A token."""
    tokens: Secrets
    """The tokens that are accepted."""


class BasicOptions(Options):
    """A user name and a password in the header `Authorization: Basic …`."""

    kind: Literal["basic"]
    """A user name and a password."""
    username: str = Field(min_length=1)
    """The user name."""
    passwords: Secrets
    """The passwords that are accepted."""


class NoneOptions(Options):
    """Nothing: each request that reaches the listener is accepted."""

    kind: Literal["none"]
    """No verification, where the network alone decides who sends."""


VerifyOptions = Annotated[
    GithubOptions
    | StripeOptions
    | SlackOptions
    | StandardOptions
    | HmacOptions
    | BearerOptions
    | BasicOptions
    | NoneOptions,
    Field(discriminator="kind"),
]
"""How the sender proves who it is."""


def standard_key(secret: SecretStr) -> bytes:
    """Return the key that a secret of Standard Webhooks stands for.

    Raises:
        ValueError: it is not base64.
    """
    key = base64.b64decode(secret.get_secret_value().removeprefix(STANDARD_PREFIX), validate=True)
    if not key:
        raise ValueError("the key is empty")
    return key
