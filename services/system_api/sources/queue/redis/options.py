"""The settings of a Redis source; at least `{kind: redis, url: …, stream: orders, type: order.updated}`."""

from enum import StrEnum
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from services.system_api.sources.queue.address import AddressOptions


class Risk(StrEnum):
    """How a stream loses entries before they are read; a source of such a stream is refused unless it accepts that."""

    NO_AOF = "no_aof"
    """The server has no append-only file: when it fails, the entries since its last snapshot are gone."""
    EVICTION = "eviction"
    """The server deletes whole keys when its memory is full (`maxmemory-policy`), this stream among them."""
    EXPIRES = "expires"
    """The stream has a time to live."""


class RedisSourceOptions(AddressOptions):
    """A stream of Redis."""

    SCHEMES: ClassVar[dict[str, int]] = {"redis": 6379, "rediss": 6379}
    TLS_SCHEMES: ClassVar[frozenset[str]] = frozenset({"rediss"})
    EXAMPLE: ClassVar[str] = "redis://user@host:6379/0, or rediss:// for TLS"

    kind: Literal["redis"]
    """A stream of Redis or Valkey, 7.0 or newer; one server or its primary, no Redis Cluster."""

    url: str = Field(min_length=1, json_schema_extra={"pattern": "^rediss?://[^/?#]"})
    """`redis://user@host:6379/0`; `rediss://` for TLS. The path is the number of the database. A password in the URL is
    moved to `password`."""

    stream: str = Field(min_length=1, max_length=512)
    """The key of the stream; its owner creates it, by the first XADD for example."""

    group: str | None = Field(default=None, min_length=1, max_length=512)
    """The consumer group, created where it is missing; by default `trelay-` and the name of the source. No other
    consumer may read it. What consumers before have left unacknowledged is read first."""

    field: str | None = Field(default=None, min_length=1)
    """The field of an entry that holds the message; the others are its headers. By default the event's data is an
    object of all fields, as text."""

    start: Literal["earliest", "latest"] = "earliest"
    """Where to begin without a checkpoint, if the group does not exist yet."""

    accept: tuple[Risk, ...] = ()
    """How this stream may lose entries; each way that is not named here is refused when the source is opened."""

    @property
    def in_words(self) -> str:
        """The stream, for errors and checkpoints."""
        return f"Redis stream {self.stream!r}"

    @property
    def database(self) -> int:
        """The number of the database."""
        return int(self.address.path.strip("/") or 0)

    @property
    def password_needs_user(self) -> bool:
        """A password without a user is that of the user `default`."""
        return False

    def group_of(self, source: str) -> str:
        """Return the name of the group."""
        return self.group or f"trelay-{source}"

    @model_validator(mode="after")
    def _database_is_a_number(self) -> Self:
        path = self.address.path.strip("/")
        if path and not (path.isascii() and path.isdigit()):
            raise ValueError(f"url: found database {path!r}; expected its number, as in {self.EXAMPLE}")
        return self
