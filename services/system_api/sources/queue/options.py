"""The settings that all kinds of queues and topics have."""

from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from services.system_api.sources.source import SourceOptions
from shared.expression.settings import ValueExpressionText
from shared.settings import Options

_REFUSED = {
    "ack": "Trelay acknowledges each message after the transaction that publishes it; remove this setting",
    "auto_ack": "acknowledging on delivery loses what is delivered when Trelay stops; remove this setting",
    "no_ack": "acknowledging on delivery loses what is delivered when Trelay stops; remove this setting",
    "noack": "NOACK loses what is delivered when Trelay stops; remove this setting",
    "ack_policy": "Trelay acknowledges each message explicitly, after the transaction that publishes it; remove this"
    " setting",
    "enable_auto_commit": "positions are saved in the transaction that publishes; remove this setting",
    "auto_offset_reset": "set `start: earliest` or `start: latest`; it applies to a source without a checkpoint alone",
    "clean_start": "a clean start discards what the broker kept while Trelay was away; remove this setting",
    "clean_session": "a clean session discards what the broker kept while Trelay was away; remove this setting",
}
"""Settings of other programs by which messages are lost, and what to do instead."""


class KeySubject(Options):
    """The subject of an event is the key of its message."""

    key: Literal[True]
    """The key of the message: routing key, record key, NATS subject, MQTT topic, message group."""


class HeaderSubject(Options):
    """The subject of an event is in a header of its message."""

    header: str = Field(min_length=1)
    """A header of the message: a user property, an attribute or a field, as the broker calls it."""


class Content(StrEnum):
    """What a message may contain."""

    JSON = "json"
    """One JSON value. Anything else goes to the dead letter topic."""
    ANY = "any"
    """Anything: what is not JSON, by its content type or its bytes, becomes `data_base64`."""


class QueueSourceOptions(SourceOptions):
    """The settings of every queue or topic."""

    subject: KeySubject | HeaderSubject | ValueExpressionText = KeySubject(key=True)
    """The event's subject, the entity's key: a path or a JSONata expression over the data (`customer.id`), or `{header:
    name}`, or `{key: true}`, the default: the key of the message, and the name of the queue where there is none."""

    content: Content = Content.JSON
    """What a message may contain; the rest goes to the dead letter topic."""

    cloudevents: bool = False
    """Whether messages that are CloudEvents (structured or binary mode) keep their attributes: id, source, type,
    subject, time, datacontenttype and extensions. Otherwise they are data like any other."""

    message_limit: int = Field(default=1_048_576, ge=64, le=3 * 1_048_576)
    """Maximum size of a message in bytes. A larger one goes to the dead letter topic with its first 64 KiB."""

    max_deliveries: int = Field(default=5, ge=3, le=1000)
    """Deliveries after which a message that was never processed to the end, because it stops the process for example,
    goes to the dead letter topic. From the third one on it is processed by itself, so that no other shares its fate."""

    prefetch: int = Field(default=1000, ge=1, le=65_535)
    """Maximum number of messages that are delivered and not acknowledged."""

    prefetch_bytes: int = Field(default=16 * 1_048_576, ge=65_536)
    """Approximate maximum size of these messages in bytes."""

    connect_timeout: float = Field(default=10.0, gt=0)
    """Seconds that one attempt to connect may take."""

    _missing: set[str] = PrivateAttr(default_factory=set)

    def of_one_run(self) -> Self:
        """Return a copy that notes by itself what was missing."""
        own = self.model_copy()
        own._missing = set()  # noqa: SLF001 -- of this class
        return own

    def note_missing(self, name: str) -> None:
        """Note that a queue or topic does not exist: all that it will hold comes after the start of this source."""
        self._missing.add(name)

    def begins_at_end(self, name: str) -> bool:
        """Whether a queue or topic without a checkpoint is read from its end on: `start: latest`."""
        return getattr(self, "start", None) == "latest" and name not in self._missing

    @model_validator(mode="before")
    @classmethod
    def _loses_nothing(cls, given: Any) -> Any:
        for name in given if isinstance(given, dict) else ():
            if name in _REFUSED and name not in cls.model_fields:
                raise ValueError(f"{name}: {_REFUSED[name]}")
        return given
