"""The settings of an MQTT source; at least `{kind: mqtt, url: …, topics: [plant/#], type: reading.taken}`."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from services.system_api.sources.queue.address import AddressOptions
from shared.settings import Form

_SHARED = "$share/"
_PART = r"(?:\+|[^+#/\x00]*)"
_FILTER = rf"^(?:{_PART}(?:/{_PART})*(?:/#)?|#)$"

TopicFilter = Annotated[
    str,
    Field(min_length=1, max_length=1000),
    Form(_FILTER, "a topic filter, such as plant/+/temperature or plant/#"),
]


class Risk(StrEnum):
    """How a broker loses messages; a source of such a broker is refused unless it accepts that."""

    SESSION_EXPIRY = "session_expiry"
    """The broker keeps the session, and what is sent meanwhile, for a shorter time than `session_expiry`."""
    QOS_0 = "qos_0"
    """The broker delivers with QoS 0, without acknowledgement."""


class MqttSourceOptions(AddressOptions):
    """Topics of an MQTT broker."""

    SCHEMES: ClassVar[dict[str, int]] = {"mqtt": 1883, "mqtts": 8883}
    TLS_SCHEMES: ClassVar[frozenset[str]] = frozenset({"mqtts"})
    EXAMPLE: ClassVar[str] = "mqtt://user@host:1883, or mqtts:// for TLS"

    kind: Literal["mqtt"]
    """Topics of an MQTT 5 broker."""

    url: str = Field(min_length=1, json_schema_extra={"pattern": "^mqtts?://[^/?#]"})
    """`mqtt://user@host:1883`; `mqtts://` for TLS. A password in the URL is moved to `password`."""

    topics: tuple[TopicFilter, ...] = Field(min_length=1, max_length=100)
    """The topic filters to subscribe to, with QoS 1. They should not overlap: a broker may deliver a message once for
    each filter that matches."""

    share: Annotated[str, Form(r"^[^+#/\x00]{1,200}$", "a name without '+', '#' and '/'")] | None = None
    """The name of a shared subscription: its members share the messages, and their order is not kept."""

    client_id: str | None = Field(default=None, min_length=1, max_length=200)
    """The client id, which names the session; by default `trelay-` and the name of the source. No other client may use
    it."""

    session_expiry: int = Field(default=604_800, ge=60, le=4_294_967_295)
    """Seconds for which the broker keeps the messages while Trelay is away."""

    message_id: str | None = Field(default=None, min_length=1)
    """The user property that identifies a message, so that one that is delivered or sent again is dropped. By default
    the event's id is a digest of the message: two equal messages have the same one."""

    dedupe_window: int = Field(default=10_000, ge=0, le=1_000_000)
    """Messages whose `message_id` is remembered."""

    keepalive: int = Field(default=10, ge=5, le=600)
    """Seconds after which a connection without traffic is checked."""

    accept: tuple[Risk, ...] = ()
    """How this broker may lose messages; each way that is not named here is refused when the source is opened."""

    @property
    def in_words(self) -> str:
        """The session, for errors and checkpoints."""
        return "MQTT topics"

    @property
    def filters(self) -> list[str]:
        """What to subscribe to."""
        return [f"{_SHARED}{self.share}/{each}" if self.share else each for each in self.topics]

    def session(self, source: str) -> str:
        """Return the client id."""
        return self.client_id or f"trelay-{source}"

    @model_validator(mode="after")
    def _shared_by_setting(self) -> Self:
        shared = next((each for each in self.topics if re.match(r"\$(share|queue)/", each)), None)
        if shared is not None:
            raise ValueError(f"topics: found {shared!r}; set `share` to the name of the group instead")
        return self
