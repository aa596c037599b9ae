"""The settings of a NATS source; at least `{kind: nats, url: …, stream: ORDERS, type: order.updated}`."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from services.system_api.sources.queue.address import AddressOptions
from shared.settings import Form, Secret


class Risk(StrEnum):
    """How a stream loses messages; a source of such a stream is refused unless it accepts that."""

    MEMORY_STORAGE = "memory_storage"
    """The stream is gone when its servers restart."""
    NO_ACK = "no_ack"
    """Senders are not told whether the stream has stored their messages."""
    DISCARD_NEW = "discard_new"
    """A full stream refuses new messages, which a sender without acknowledgements does not notice."""
    MAX_DELIVER = "max_deliver"
    """The consumer gives a message up after fewer deliveries than `max_deliveries`."""
    INACTIVE_THRESHOLD = "inactive_threshold"
    """The consumer is deleted when Trelay is away for that long; with interest retention its messages are lost."""


class NatsSourceOptions(AddressOptions):
    """A stream of NATS JetStream."""

    SCHEMES: ClassVar[dict[str, int]] = {"nats": 4222, "tls": 4222}
    TLS_SCHEMES: ClassVar[frozenset[str]] = frozenset({"tls"})
    EXAMPLE: ClassVar[str] = "nats://user@host:4222, or tls:// for TLS; several hosts are separated by commas"
    SEVERAL: ClassVar[bool] = True

    kind: Literal["nats"]
    """A stream of NATS JetStream."""

    url: str = Field(min_length=1, json_schema_extra={"pattern": "^(nats|tls)://[^/?#]"})
    """`nats://user@host:4222`; `tls://` for TLS. Several hosts, separated by commas, are tried in turn. A password in
    the URL is moved to `password`."""

    token: Secret | None = None
    """A token, for servers that authenticate by one in place of user and password."""

    stream: Annotated[str, Form(r"^[^\s.*>/\\]{1,255}$", "the name of a stream, without spaces, '.', '*' and '>'")]
    """The stream; its owner creates it."""

    filter: str | None = Field(default=None, min_length=1, max_length=255)
    """The subjects to read, such as `orders.eu.>`; by default all of the stream."""

    consumer: (
        Annotated[str, Form(r"^[^\s.*>/\\]{1,255}$", "the name of a consumer, without spaces, '.', '*' and '>'")] | None
    ) = None
    """The durable consumer, created where it is missing; by default `trelay-` and the name of the source. Its state
    shows the stream's owner how far Trelay has read."""

    start: Literal["earliest", "latest"] = "earliest"
    """Where to begin without a checkpoint."""

    ack_wait: float = Field(default=60.0, ge=1, le=3600)
    """Seconds after which the server delivers a message again that is not acknowledged."""

    accept: tuple[Risk, ...] = ()
    """How this stream may lose messages; each way that is not named here is refused when the source is opened."""

    @property
    def in_words(self) -> str:
        """The stream, for errors and checkpoints."""
        return f"JetStream stream {self.stream!r}"

    def durable(self, source: str) -> str:
        """Return the name of the consumer."""
        return self.consumer or f"trelay-{source.replace('.', '_')}"

    @model_validator(mode="after")
    def _one_way_to_authenticate(self) -> Self:
        if self.token is not None and (self.user is not None or self.password is not None):
            raise ValueError("token: found a user or a password as well; expected one of them")
        return self
