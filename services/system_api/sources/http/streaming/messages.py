"""What a message of a stream becomes. No I/O; use it only in the thread that made it."""

import msgspec

from services.system_api.sources.http.received.items import Item, Received, ReceivedItems
from services.system_api.sources.http.received.values import text_value
from services.system_api.sources.http.streaming.connection import Message
from services.system_api.sources.http.streaming.options import StreamOptions, WebSocketSourceOptions
from services.system_api.sources.source import EventBuilder, Loss
from shared.errors import Malformed
from shared.events import event, strict_json
from shared.events.attributes import OWN_SOURCE, OWN_TYPES
from shared.events.dead_letter import KEPT_BYTES, Reject
from shared.expression.document import JsonDocument
from shared.expression.expression import Expression

_SHOWN = 500
_GAP = f"{OWN_TYPES}gap"


class MessageItems:
    """Makes the items of one stream."""

    def __init__(self, builder: EventBuilder, options: StreamOptions) -> None:
        self._builder = builder
        self._options = options
        self._items = ReceivedItems(builder, options)
        cursor = options.cursor if isinstance(options, WebSocketSourceOptions) else None
        self._cursor = None if cursor is None else Expression(cursor)

    def begin_batch(self) -> None:
        """Start a batch: its events share one time of reading and one trace."""
        self._builder.begin_batch()

    def cursor(self, message: Message) -> str | None:
        """Return the cursor behind a message, None where it has none."""
        if self._cursor is None or message.body is None or message.cut:
            return message.cursor or None
        try:
            strict_json.check(message.body)
            found = self._cursor.value(JsonDocument(message.body))
            return None if found is None else text_value("cursor", found) or None
        except Malformed:
            return None  # the message becomes a reject

    def loss(self, message: Message) -> Loss | None:
        """Return what another Trelay says is missing."""
        if not self._options.cloudevents or message.body is None or _GAP.encode() not in message.body:
            return None
        try:
            found = event.decode(message.body)
            if (event.text_of(found, "source"), event.text_of(found, "type")) != (OWN_SOURCE, _GAP):
                return None
            return Loss(
                f"the upstream reports a gap: {bytes(found.get('data', b'null'))[:500].decode(errors='replace')}"
            )
        except Malformed:
            return None

    def of(self, message: Message, key: str) -> list[Item]:
        """Return the items of a message, at least one."""
        if message.body is None:
            return [Item(0, 0, last=True)]
        if message.cut or len(message.body) > self._options.message_limit:
            return [self._reject(key, message.body, f"a message above message_limit ({self._options.message_limit})")]
        if self._options.cloudevents:
            return [self._cloudevent(message.body, key)]
        return self._items.of(Received(0, key, message.body, message.received_at, "", message.headers))

    def _cloudevent(self, body: bytes, key: str) -> Item:
        try:
            strict_json.check(body, strict_json.EVENT_LEVELS)
            found = event.decode(msgspec.json.format(body, indent=-1))
            found.pop("cursor", None)
            own = event.text_of(found, "source") == OWN_SOURCE
            if own and (event.text_of(found, "type") or "").startswith(OWN_TYPES):
                return Item(0, 0, last=True)
            if self._options.channel is not None:
                found.pop("channel", None)
            event.validate(found)
            if not event.text_of(found, "subject"):
                found["subject"] = msgspec.Raw(event.json_string(self._builder.name))
            return Item(0, 0, last=True, outgoing=self._builder.complete(key, found))
        except Malformed as exc:
            return self._reject(key, body, str(exc))

    def _reject(self, key: str, body: bytes, error: str) -> Item:
        name = self._builder.name
        reject = Reject(f"{name}:{key}", body[:KEPT_BYTES], f"{key}: {error}", "source", f"{name}:{key}")
        return Item(0, 0, last=True, reject=reject)
