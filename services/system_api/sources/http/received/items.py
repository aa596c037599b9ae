"""What a body becomes: events, rejects, and items that are no event. No I/O.

Use it only in the thread that made it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from services.system_api.sources.http.instants import instant_of
from services.system_api.sources.http.received.bodies import json_body
from services.system_api.sources.http.received.options import HeaderValue, ReceivedOptions, TypeHeader
from services.system_api.sources.http.received.values import shown, text_value
from services.system_api.sources.source import EventBuilder
from shared.bus.protocol import Outgoing
from shared.errors import Malformed, TooLarge
from shared.events import strict_json
from shared.events.attributes import check_attribute
from shared.events.dead_letter import KEPT_BYTES, Reject
from shared.events.event import json_string
from shared.expression.document import JsonDocument
from shared.expression.expression import Expression
from shared.runtime.clock import rfc3339

_ARRAY = b"["[0]
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")

_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Received:
    """A body with what came beside it."""

    position: int
    """Its place in the order of arrival."""
    key: str
    """What identifies it: its events have the same ids whenever it is read."""
    body: bytes
    received_at: float
    """In seconds since 1970."""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those of `kept_headers`, by their names there."""


@dataclass(frozen=True, slots=True)
class Item:
    """One of the things that a body becomes; neither a record nor a reject: no event on purpose."""

    position: int
    """Of the body."""
    number: int
    """Its place in the body, counted from 0."""
    last: bool
    """Whether it is the last one of its body."""
    outgoing: Outgoing | None = None
    reject: Reject | None = None


class ReceivedItems:
    """Makes the items of one source."""

    def __init__(self, builder: EventBuilder, options: ReceivedOptions) -> None:
        """Raises `ValueError` where an expression does not compile, which the settings have checked."""
        made = {name: Expression(text) for name, text in options.picking().items()}
        # The body itself needs no JSONata, which takes no large number and no deep nesting.
        self._records = None if options.records.strip() == "$" else made["records"]
        self._id, self._time = made.get("id"), made.get("time")
        self._subject, self._type = made.get("subject"), made.get("type_from")
        self._options = options
        self._builder = builder

    def begin_batch(self) -> None:
        """Start a batch: its events share one time of reading and one trace."""
        self._builder.begin_batch()

    def of(self, received: Received) -> list[Item]:
        """Return the items of a body, at least one."""
        key, position = received.key, received.position
        try:
            records = self._listed(received)
        except Malformed as exc:
            return [Item(position, 0, last=True, reject=self._reject(key, received.body, str(exc)))]
        if records is None:
            return [Item(position, 0, last=True)]
        several = len(records) > 1 or records[0].listed
        found = []
        for number, record in enumerate(records):
            place = f"{key}/{number}" if several else key
            outgoing = reject = None
            try:
                outgoing = self._event(record.data, place, received)
            except Malformed as exc:
                kept = record.data[:KEPT_BYTES] if isinstance(exc, TooLarge) else record.data
                reject = self._reject(place, kept, str(exc))
            found.append(Item(position, number, number == len(records) - 1, outgoing, reject))
        return found

    def _listed(self, received: Received) -> "list[_Record] | None":
        """Return the records of a body, None if it has none.

        Raises:
            Malformed: the body is not JSON that every reader accepts, or an expression fails on it.
        """
        body = json_body(received.content_type, received.body, self._options.form_field)
        strict_json.check(body)
        body = body.translate(_LINE_ENDS).strip()
        if self._records is None:
            found: bytes | None = body
        else:
            found = _evaluated("records", self._records, JsonDocument(body))
        if found is None or found == b"null":
            return None
        if found[0] != _ARRAY:
            return [_Record(found, listed=False)]
        return [_Record(bytes(item).strip(), listed=True) for item in _items(found)] or None

    def _event(self, data: bytes, place: str, received: Received) -> Outgoing:
        options, headers = self._options, received.headers
        if len(data) > options.record_limit:
            raise TooLarge(
                f"found a record of {len(data)} bytes, the limit is {options.record_limit}; its first {KEPT_BYTES} are"
                " kept"
            )
        strict_json.check(data)
        document = JsonDocument(data)
        position = place if self._id is None else _required("id", self._id, document)
        if self._subject is not None:
            subject = _required("subject", self._subject, document)
        elif isinstance(options.subject, HeaderValue):
            subject = headers.get(options.subject.header, "")
            if not subject:
                raise Malformed(f"subject: the header {options.subject.header} is missing or empty")
        else:
            subject = self._builder.name
        # Checked, because nothing else has read what the sender wrote here.
        attributes = {"id": f"{self._builder.name}:{position}", "subject": subject}
        if (type_ := self._typed(document, received)) is not None:
            attributes["type"] = type_
        for name, text in attributes.items():
            check_attribute(name, _string(name, text))
        time = self._timed(document) or rfc3339(received.received_at).encode()
        if type_ is None:
            return self._builder.event(position, subject, data, time)
        made = {"type": json_string(type_), "subject": json_string(subject), "time": b'"%b"' % time}
        made |= {"datacontenttype": b'"application/json"', "data": data}
        return self._builder.complete(position, {name: msgspec.Raw(text) for name, text in made.items()})

    def _typed(self, document: JsonDocument, received: Received) -> str | None:
        if self._type is not None:
            found = _evaluated("type_from", self._type, document)
            return None if found is None else text_value("type_from", found) or None
        if isinstance(self._options.type_from, TypeHeader):
            named = received.headers.get(self._options.type_from.header)
            return f"{self._options.type_from.prefix}{named}" if named else None
        return None

    def _timed(self, document: JsonDocument) -> bytes | None:
        found = None if self._time is None else _evaluated("time", self._time, document)
        if found is None:
            return None
        try:
            instant = instant_of(found)
        except Malformed as exc:
            raise Malformed(f"time: {exc}") from exc
        return None if instant is None else instant.text

    def _reject(self, place: str, value: bytes, error: str) -> Reject:
        name = self._builder.name
        kept = value[: max(self._options.record_limit, KEPT_BYTES)]
        return Reject(f"{name}:{place}", kept, f"{place}: {error}", "source", f"{name}:{place}")


@dataclass(frozen=True, slots=True)
class _Record:
    data: bytes
    listed: bool
    """Whether it is an item of a list."""


def _evaluated(setting: str, expression: Expression, document: JsonDocument) -> bytes | None:
    try:
        return expression.value(document)
    except Malformed as exc:
        raise Malformed(f"{setting}: {exc}") from exc


def _required(setting: str, expression: Expression, document: JsonDocument) -> str:
    found = _evaluated(setting, expression, document)
    text = None if found is None else text_value(setting, found)
    if not text:
        given = "nothing" if found is None else shown(found)
        raise Malformed(f"{setting}: the expression gives {given}; expected a text or a number")
    return text


def _string(name: str, text: str) -> bytes:
    try:
        return json_string(text)
    except UnicodeEncodeError as exc:
        raise Malformed(f"attribute {name!r}: found {text[:80]!r}; expected text without surrogates") from exc
