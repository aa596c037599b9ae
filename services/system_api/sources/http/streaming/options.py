"""The settings of the kinds `sse` and `websocket`; at least `{kind: sse, url: https://…, type: price.changed}`."""

import json
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from services.system_api.sources.http.received.options import MEGABYTE, ReceivedOptions
from services.system_api.sources.source import SourceOptions
from shared.expression.settings import ValueExpressionText
from shared.http.client.options import ClientOptions, HttpUrl, checked_url


def _websocket_url(url: str) -> str:
    return checked_url(url, ("ws", "wss"))


def _json_text(text: str) -> str:
    try:
        json.loads(text)
    except ValueError as exc:
        raise ValueError(f'expected JSON, such as \'{{"op": "subscribe"}}\': {exc}') from exc
    return text


WebSocketUrl = Annotated[
    str,
    AfterValidator(_websocket_url),
    Field(min_length=1, json_schema_extra={"pattern": r"^wss?://[^/?#@]+([/?].*)?$"}),
]
"""An absolute URL of a WebSocket, without credentials."""


LARGEST = 16 * MEGABYTE
"""Bytes of the largest message that a WebSocket may send: all of it is in memory before its size is known."""


class StreamOptions(SourceOptions, ClientOptions, ReceivedOptions):
    """What both kinds have."""

    cloudevents: bool = False
    """Whether messages are CloudEvents in JSON, and keep their attributes: id, source, type, subject, time and
    extensions. Then `records`, `id`, `subject`, `time` and `type_from` have no effect. Events of `/trelay`, by which
    another Trelay tells about its stream, are not published; a gap is reported as a loss."""

    start: str | None = Field(default=None, min_length=1)
    """The cursor to begin after, where the source has none yet; by default the stream begins where the server begins
    it, usually with the next message."""

    heartbeat: float = Field(default=60.0, gt=0, le=3600)
    """Seconds without anything from the server, heartbeats included, after which the connection counts as lost. A
    WebSocket is pinged."""

    message_limit: int = Field(default=MEGABYTE, ge=1024, le=LARGEST)
    """Maximum size of a message in bytes. A larger one goes to the dead letter topic with its first 64 KiB. A WebSocket
    that sends more than 16 MiB at once is closed."""

    buffer_bytes: int = Field(default=8 * MEGABYTE, ge=65_536)
    """Bytes of messages that wait in memory to be published; beyond it nothing more is read from the connection."""

    window: int = Field(default=200, ge=0, le=10_000)
    """Number of cursors that are remembered, for a server that repeats the last messages before a cursor."""

    @model_validator(mode="after")
    def _connects_in_time(self) -> Self:
        if self.timeout > self.poll_timeout / 2:
            raise ValueError(f"timeout: found {self.timeout:g}; expected at most half of poll_timeout")
        return self

    def expressions(self) -> dict[str, str]:
        """Return the JSONata of these settings, by setting."""
        names = ("cursor", "resume")
        more = {name: getattr(self, name, None) for name in names}
        return self.picking() | {name: text for name, text in more.items() if text is not None}


class SseSourceOptions(StreamOptions):
    """Server-sent events (`text/event-stream`)."""

    kind: Literal["sse"]
    """Server-sent events."""

    url: HttpUrl
    """The URL of the stream. The id of the last event that is published is sent as `Last-Event-ID`."""


class WebSocketSourceOptions(StreamOptions):
    """A WebSocket that sends messages in JSON."""

    kind: Literal["websocket"]
    """Messages of a WebSocket."""

    url: WebSocketUrl
    """The URL of the WebSocket."""

    subscribe: tuple[Annotated[str, AfterValidator(_json_text)], ...] = ()
    """Messages in JSON that are sent after connecting, in this order."""

    cursor: ValueExpressionText | None = None
    """JSONata over a message: the place in the stream behind it, a text or a number. Messages without one do not move
    it."""

    cursor_parameter: str | None = Field(default=None, min_length=1)
    """The query parameter of the URL with the cursor to resume after."""

    resume: ValueExpressionText | None = None
    """JSONata over `{"cursor": …}`: the message that is sent after connecting, in place of those of `subscribe`, to
    resume after a cursor."""

    @model_validator(mode="after")
    def _resumable(self) -> Self:
        resumes = self.cursor_parameter is not None or self.resume is not None
        if resumes != (self.cursor is not None):
            raise ValueError("cursor: needs `cursor_parameter` or `resume` to resume after it, and they need it")
        if self.start is not None and not resumes:
            raise ValueError("start: needs `cursor`, and `cursor_parameter` or `resume`")
        return self
