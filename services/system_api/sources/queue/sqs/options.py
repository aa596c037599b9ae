"""The settings of an SQS source; at least `{kind: sqs, url: …, type: order.placed}`."""

import re
from enum import StrEnum
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from services.system_api.sources.queue.address import TlsOptions
from services.system_api.sources.queue.options import QueueSourceOptions
from shared.http.client.addresses import NetworkRules
from shared.http.client.options import NetworkOptions
from shared.settings import Form, Secret

_URL = r"^https?://[^/?#\s@]+/[^?#\s]+$"
_EXAMPLE = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"
_AMAZON = re.compile(
    r"(?:^|\.)(?:sqs(?:-fips)?\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)$"
)
"""The hosts of Amazon's endpoints: by region, of older clients, private ones, and those for IPv6."""


class Risk(StrEnum):
    """How a queue loses messages; a source of such a queue is refused unless it accepts that."""

    RETENTION = "retention"
    """The queue deletes messages that are older than less than a day, also unread ones (`MessageRetentionPeriod`)."""
    REDRIVE = "redrive"
    """The queue moves a message to its dead-letter queue after no more than `max_deliveries` receives
    (`RedrivePolicy`), also one that was received and never processed, because Trelay was restarted for example."""


class SqsSourceOptions(QueueSourceOptions):
    """A queue of Amazon SQS."""

    kind: Literal["sqs"]
    """A queue of Amazon SQS, standard or FIFO."""

    url: Annotated[str, Form(_URL, f"the URL of a queue, such as {_EXAMPLE}")]
    """The URL of the queue, such as `https://sqs.eu-central-1.amazonaws.com/123456789012/orders`."""

    region: str | None = Field(default=None, min_length=1)
    """The region; by default the one in the host of `url`."""

    access_key_id: str | None = Field(default=None, min_length=1)
    """The id of the access key. Without one, the client looks for credentials as AWS's own tools do: variables, files,
    the role of the pod or the instance."""

    secret_access_key: Secret | None = None
    """The secret of `access_key_id`."""

    session_token: Secret | None = None
    """The token of temporary credentials, with `access_key_id`."""

    tls: TlsOptions | None = None
    """Certificates of a server that is not Amazon's, where `url` begins with https://."""

    network: NetworkOptions = NetworkOptions()
    """Which addresses a server that is not Amazon's may have."""

    visibility_timeout: int = Field(default=30, ge=2, le=43_200)
    """Seconds for which a message that Trelay holds is hidden from others. It is renewed while Trelay holds the
    message; a process that is killed delays its messages by as long."""

    long_poll: int = Field(default=10, ge=1, le=20)
    """Seconds for which one request waits for a message."""

    dedupe_window: int = Field(default=100_000, ge=0, le=1_000_000)
    """Messages whose id is remembered, so that one that is delivered again is dropped. After a crash, that is up to
    `visibility_timeout` seconds later, so the messages of that time must fit."""

    accept: tuple[Risk, ...] = ()
    """How this queue may lose messages; each way that is not named here is refused when the source is opened."""

    @property
    def name(self) -> str:
        """The name of the queue."""
        return self.url.rstrip("/").rpartition("/")[2]

    @property
    def in_words(self) -> str:
        """The queue, for errors and checkpoints."""
        return f"SQS queue {self.name!r}"

    @property
    def endpoint(self) -> str:
        """The URL of the service."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def region_name(self) -> str:
        """The region of the queue."""
        found = _AMAZON.search(self._host)
        return self.region or (found[1] or found[2] if found else "")

    def rules(self) -> NetworkRules:
        """Return the addresses that the endpoint may have. A private endpoint of Amazon has a private address."""
        return NetworkRules(self.network.allow, private=self.network.private or self._amazon)

    @property
    def _host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def _amazon(self) -> bool:
        return _AMAZON.search(self._host) is not None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.region_name:
            raise ValueError("region: the host of `url` does not name it; set it, to eu-central-1 for example")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id: needs `secret_access_key`, and the other way round")
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token: needs `access_key_id` and `secret_access_key`")
        if self.tls is not None and not self.url.startswith("https:"):
            raise ValueError("tls: the scheme http:// does not use it; set `url` to https://")
        self.network.check("url", self.url)
        return self
