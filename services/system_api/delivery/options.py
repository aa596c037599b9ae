"""Where events are delivered to, and what is kept of them here."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from shared.runtime.retry import RetryOptions
from shared.settings import Options, RelativePath, Secret


def _http_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise ValueError("expected an address such as https://relay.example.com/entity, without user and password")
    return url


class DeliverOptions(Options):
    """The section `system.deliver`."""

    url: Annotated[
        str, AfterValidator(_http_address), Field(json_schema_extra={"pattern": r"^https?://[^/?#@]+([/?#].*)?$"})
    ]
    """The address of `POST /entity` of the experience layer. It must allow this machine (`experience.entity.allow`), or
    know it as a producer by `token` or `cert_file`."""

    ca_file: RelativePath | None = None
    """CA bundle (PEM) for the server certificate; by default that of the system."""

    token: Secret | None = None
    """Sent as `Authorization: Bearer …`: one of the tokens of a producer in `experience.entity.producers`."""

    cert_file: RelativePath | None = None
    """PEM file of a client certificate (mutual TLS), then the chain up to its authority: one of the certificates of a
    producer in `experience.entity.producers`."""

    key_file: RelativePath | None = None
    """PEM file of the private key of `cert_file`; by default it is in `cert_file` as well."""

    batch_events: int = Field(default=500, ge=1, le=10_000)
    """Most events of one request; `experience.entity.batch_limit` (1000) is the limit of the other side."""

    batch_bytes: int = Field(default=524_288, ge=1024)
    """Bytes of one request, unless one event has more; `experience.listen.body_limit` (1 MiB) is the limit of the other
    side."""

    timeout: float = Field(default=30.0, gt=0)
    """Seconds until a request without a response has failed."""

    retry: RetryOptions = RetryOptions()
    """How often a request is retried until its source waits, and reads the same events again."""

    state: RelativePath | None = None
    """Folder for checkpoints and dead letters, used by one process alone. Without it they are on the bus of the section
    `bus`, which several replicas can share."""

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file: needs `cert_file`, the certificate of the key")
        if self.cert_file is not None and not self.url.startswith("https:"):
            raise ValueError("cert_file: expected an address that begins with https, which uses certificates")
        return self
