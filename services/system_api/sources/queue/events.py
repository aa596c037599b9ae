"""Makes the event, or the reject, of a message. No I/O."""

import base64
import json

import msgspec

from services.system_api.sources.queue.cloudevent import attributes_of, is_json, media_type
from services.system_api.sources.queue.message import Message
from services.system_api.sources.queue.options import Content, HeaderSubject, QueueSourceOptions
from services.system_api.sources.source import EventBuilder
from shared.bus.protocol import Outgoing
from shared.errors import Malformed, TooLarge
from shared.events import strict_json
from shared.events.dead_letter import KEPT_BYTES, Reject
from shared.events.event import Attributes, json_string
from shared.expression.document import JsonDocument
from shared.expression.expression import Expression
from shared.runtime.clock import rfc3339

_YEAR_10000 = 253_402_300_800
_BOM = b"\xef\xbb\xbf"
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


class MessageEvents:
    """Makes the events of one source."""

    def __init__(self, builder: EventBuilder, options: QueueSourceOptions, name: str) -> None:
        """`name` is the queue's, for rejects, and the subject of a message without a key."""
        self._builder = builder
        self._options = options
        self._name = name
        self._any = options.content is Content.ANY
        subject = options.subject
        self._header = subject.header if isinstance(subject, HeaderSubject) else None
        self._expression = Expression(subject) if isinstance(subject, str) else None

    def begin_batch(self) -> None:
        """Start a batch: its events share one time of reading and one trace."""
        self._builder.begin_batch()

    def event(self, message: Message, refused: str | None = None) -> Outgoing:
        """Return the event of a message, unless there is a reason to refuse it.

        Raises:
            Malformed: it is not one, or is refused; see `reject`.
        """
        if (reason := refused or message.fault) is not None:
            raise Malformed(reason)
        if len(message.body) > self._options.message_limit:
            raise TooLarge(
                f"found a message of {len(message.body)} bytes, the limit is {self._options.message_limit}; its first"
                f" {KEPT_BYTES} bytes are kept"
            )
        try:
            return self._made(message)
        except UnicodeEncodeError as exc:  # SQS sends its texts as JSON, which can hold half of a surrogate pair
            raise Malformed(f"found text that UTF-8 cannot encode: {exc.object[exc.start : exc.end]!r}") from exc

    def _made(self, message: Message) -> Outgoing:
        media = media_type(message)
        if self._options.cloudevents and (found := attributes_of(message, media)) is not None:
            return self._cloudevent(message, found)
        if self._any and media and not is_json(media):
            return self._binary(message)
        try:
            data = _json(message.body)
        except Malformed:
            if self._any and not media:
                return self._binary(message)
            raise
        time = _time(message)
        return self._builder.event(
            message.place, self._subject(message, data), data, None if time is None else time.encode()
        )

    def reject(self, message: Message, error: str, *, attempts: int = 1) -> Reject:
        """Return what goes to the dead letter topic in place of an event."""
        place, name = message.place, self._builder.name
        kept = message.body
        if len(kept) > self._options.message_limit:
            kept = kept[:KEPT_BYTES]
        origin = f"{name}:{self._name}:{place}"
        return Reject(f"{name}:{place}", kept, f"{self._name}, {place}: {error}", "source", origin, attempts=attempts)

    def _cloudevent(self, message: Message, found: Attributes) -> Outgoing:
        data = found.get("data")
        if data is not None:
            found["data"] = msgspec.Raw(_json(bytes(data)))
        if "subject" not in found:
            text = self._subject(message, None if data is None else bytes(data))
            found["subject"] = msgspec.Raw(json_string(text))
        return self._built(message, found)

    def _binary(self, message: Message) -> Outgoing:
        encoded = base64.b64encode(message.body).decode()
        found = {
            "subject": self._subject(message, None),
            "datacontenttype": message.content_type or "application/octet-stream",
            "data_base64": encoded,
        }
        return self._built(message, {name: msgspec.Raw(json_string(text)) for name, text in found.items()})

    def _built(self, message: Message, found: Attributes) -> Outgoing:
        if (time := _time(message)) is not None:
            found.setdefault("time", msgspec.Raw(json_string(time)))
        return self._builder.complete(message.place, found)

    def _subject(self, message: Message, data: bytes | None) -> str:
        if self._expression is not None:
            if data is None:
                raise Malformed("subject: the message has no JSON data; set `subject` to a header or to the key")
            return _text(self._expression.value(JsonDocument(data)))
        if self._header is None:
            return message.key or self._name
        found = message.headers.get(self._header)
        if not found:
            raise Malformed(f"header {self._header!r}: the subject is missing or empty")
        return found


def _time(message: Message) -> str | None:
    """Return when the broker got a message; None where its time is none that RFC 3339 can write."""
    if message.time is None or not 0 <= message.time < _YEAR_10000:
        return None
    return rfc3339(message.time)


def _text(value: bytes | None) -> str:
    found = None if value is None else json.loads(value)
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        raise Malformed(f"subject: found {'nothing' if value is None else value[:80].decode()}; expected text")
    return str(found)


def _json(body: bytes) -> bytes:
    """Return a body as one JSON value on one line.

    Raises:
        Malformed: it is not one.
    """
    body = body.removeprefix(_BOM)
    strict_json.check(body)
    # Outside strings these are white space, and a line end would end a line of server-sent events.
    return body.translate(_LINE_ENDS) if b"\n" in body or b"\r" in body else body
