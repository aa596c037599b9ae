"""The settings of a RabbitMQ source; at least `{kind: rabbitmq, url: …, queue: orders, type: order.updated}`."""

from enum import StrEnum
from typing import ClassVar, Literal, Self
from urllib.parse import unquote

from pydantic import Field, model_validator

from services.system_api.sources.queue.address import AddressOptions


class Risk(StrEnum):
    """How a queue loses messages before they are read; a source of such a queue is refused unless it accepts that."""

    NOT_DURABLE = "not_durable"
    """The queue is gone when the broker restarts."""
    AUTO_DELETE = "auto_delete"
    """The queue is deleted when its last consumer disconnects, which each restart of Trelay is."""
    EXPIRES = "expires"
    """The queue is deleted when it is not used for a while (`x-expires`)."""
    MESSAGE_TTL = "message_ttl"
    """Messages are dropped when they get old (`x-message-ttl`), and there is no dead-letter exchange."""
    MAX_LENGTH = "max_length"
    """The oldest messages are dropped when the queue is full (`x-max-length`, `x-max-length-bytes`), and there is no
    dead-letter exchange."""
    DELIVERY_LIMIT = "delivery_limit"
    """Messages are dropped after fewer deliveries than `max_deliveries` (`x-delivery-limit`, by default 20 for quorum
    queues of RabbitMQ 4), and there is no dead-letter exchange."""


class RabbitmqSourceOptions(AddressOptions):
    """A queue or a stream of RabbitMQ."""

    SCHEMES: ClassVar[dict[str, int]] = {"amqp": 5672, "amqps": 5671}
    TLS_SCHEMES: ClassVar[frozenset[str]] = frozenset({"amqps"})
    EXAMPLE: ClassVar[str] = "amqp://user@host:5672/vhost, or amqps:// for TLS"

    kind: Literal["rabbitmq"]
    """A queue or a stream of RabbitMQ."""

    url: str = Field(min_length=1, json_schema_extra={"pattern": "^amqps?://[^/?#]"})
    """`amqp://user@host:5672/vhost`; `amqps://` for TLS. Without a path the virtual host is `/`. A password in the URL
    is moved to `password`."""

    queue: str | None = Field(default=None, min_length=1, max_length=255)
    """A quorum or classic queue; its owner declares it. Messages are removed from it once they are published."""

    stream: str | None = Field(default=None, min_length=1, max_length=255)
    """A stream, in place of a queue. Its messages stay, and each is published exactly once."""

    start: Literal["earliest", "latest"] = "earliest"
    """Where to begin in a stream without a checkpoint."""

    dedupe_window: int = Field(default=10_000, ge=0, le=1_000_000)
    """Messages of a queue whose `message-id` is remembered, so that one that is delivered or sent again is dropped."""

    exclusive: bool = True
    """Whether this source must be the only consumer of its queue. Otherwise other consumers get a part of the messages,
    and their order is not kept."""

    heartbeat: int = Field(default=10, ge=1, le=600)
    """Seconds between heartbeats: a connection without them for two intervals is closed, by either side."""

    accept: tuple[Risk, ...] = ()
    """How this queue may lose messages; each way that is not named here is refused when the source is opened."""

    @property
    def virtual_host(self) -> str:
        """The virtual host in the URL."""
        return unquote(self.address.path.removeprefix("/")) or "/"

    @property
    def target(self) -> str:
        """The name of the queue or stream."""
        return self.queue or self.stream or ""

    @property
    def in_words(self) -> str:
        """The queue or stream, for errors and checkpoints."""
        return f"RabbitMQ {'queue' if self.queue else 'stream'} {self.target!r}"

    @model_validator(mode="after")
    def _queue_or_stream(self) -> Self:
        if (self.queue is None) == (self.stream is None):
            found = "neither" if self.queue is None else "both"
            raise ValueError(f"found {found} of `queue` and `stream`; expected one of them")
        if self.queue is not None and "start" in self.model_fields_set:
            raise ValueError("start: a queue is read from its head; remove this setting, or set `stream`")
        if self.stream is not None:
            for name in ("dedupe_window", "exclusive", "accept"):
                if name in self.model_fields_set:
                    raise ValueError(f"{name}: a stream does not have this; remove it")
        return self
