"""Where events are delivered to, and what is kept of them here."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from shared.runtime.retry import RetryOptions
from shared.settings import Options, RelativePath


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
    """The address of `POST /entity` of the experience layer. It must allow this machine: `experience.entity.allow`."""

    ca_file: RelativePath | None = None
    """CA bundle (PEM) for the server certificate; by default that of the system."""

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
