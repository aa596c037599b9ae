"""Parses the body of `POST /entity` into events. Sans-I/O.

CloudEvents over HTTP in its three modes (structured, batched, binary; HTTP protocol binding 1.0.2), and plain JSON,
which becomes the data of one event. Events are stored as compact JSON with the text of every value unaltered.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Self
from urllib.parse import unquote

import msgspec
from multidict import MultiMapping
from pydantic import Field, model_validator

from services.experience_api.http.batch_faults import check_each
from services.experience_api.producers.once.options import OnceOptions
from services.experience_api.producers.options import ProducerOptions
from services.experience_api.refusals import UNSUPPORTED_TYPE, Refused
from shared.bus.protocol import Outgoing
from shared.errors import Malformed, TooLarge
from shared.events import event, strict_json
from shared.events.headers import Provenance
from shared.http.origin import Cidr
from shared.settings import EventType, Form, Name, Options

SOURCE_NAME = "entity"
"""The source in the headers of pushed events."""

_STRUCTURED = "application/cloudevents+json"
_BATCH = "application/cloudevents-batch+json"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode


class EntityOptions(Options):
    """What may be pushed, and from which networks."""

    allow: tuple[Cidr, ...] = ()
    """The networks that may push, in CIDR notation; by default none. `127.0.0.0/8` and `"::1/128"` are this machine:
    all its users, and every client of a proxy on it that adds no header and that `trusted_proxies` does not name."""

    producers: dict[Name, ProducerOptions] = Field(default_factory=dict)
    """Programs that may push from any address, each with credentials of its own and the channels that it may publish
    to, by name. Without any, the allow list alone decides."""

    body_timeout: float = Field(default=30.0, gt=0)
    """Seconds in which more of the body of a request must arrive, however little."""

    timeout: float = Field(default=10.0, gt=0, le=120)
    """Seconds in which the bus must store the events; after that the request fails and the sender has to retry."""

    batch_limit: int = Field(default=1000, ge=1, le=10_000)
    """Events in one batch: parsing more would delay the subscribers of this replica by tens of milliseconds."""

    source: Annotated[str, Form(r"^(?!/trelay$)[^\x00]+$", "a source other than '/trelay', which is Trelay's own")] = (
        Field(default="/sources/entity", min_length=1)
    )
    """The attribute `source` of plain JSON."""

    type: EventType = Field(default="entity.pushed", min_length=1)
    """The attribute `type` of plain JSON without `?type=`."""

    once: OnceOptions = OnceOptions()
    """How a repeated push is recognised: by the header `Idempotency-Key`, or by the events themselves."""

    @model_validator(mode="after")
    def _each_credential_has_one_producer(self) -> Self:
        owners: dict[tuple[str, str], str] = {}
        for name, producer in self.producers.items():
            tokens = [("token", token.get_secret_value()) for token in producer.tokens]
            for credential in [*tokens, *(("certificate", each) for each in producer.certificates)]:
                if owners.setdefault(credential, name) != name:
                    raise ValueError(
                        f"producers {owners[credential]!r} and {name!r} have the same {credential[0]}; expected one "
                        "producer for each"
                    )
        return self


@dataclass(frozen=True, slots=True)
class Defaults:
    """Attributes for events that lack them."""

    time: str
    """The current time, for the attribute `time`."""
    new_id: Callable[[], str]
    traceparent: Callable[[], str]


@dataclass(frozen=True, slots=True)
class PushedEvent:
    """A pushed event, ready for the bus."""

    id: str
    source: str
    channel: event.Channel
    value: bytes

    def record(self, now: float) -> Outgoing:
        """Return the record for the publish topic."""
        provenance = Provenance(SOURCE_NAME, int(now * 1000), self.id)
        return Outgoing(self.channel.encode(), self.value, provenance.headers())


@dataclass(frozen=True, slots=True)
class Push:
    """A request to `POST /entity`."""

    headers: MultiMapping[str]
    query: MultiMapping[str]
    body: bytes


def parse_events(push: Push, defaults: Defaults, options: EntityOptions) -> list[PushedEvent]:
    """Parse every event of a push, or none.

    Raises:
        Malformed: names the event by its index in a batch, and the attribute.
        TooLarge: the batch has too many events.
        Refused: `UNSUPPORTED_TYPE`.
    """
    media, charsets = _content_type(push.headers.get("Content-Type", ""))
    if _is_json(media) and (other := [name for name in charsets if name not in {"", "utf-8", "utf8", "us-ascii"}]):
        raise Refused(UNSUPPORTED_TYPE, f"found charset {other[0][:40]!r}; expected UTF-8, as JSON has")
    if media == _BATCH:
        return _read_batch(push, defaults, options)
    if media == _STRUCTURED:
        return [_finish(event.decode(_compact(push.body)), _query(push, "channel"), defaults)]
    if any(name.lower().startswith("ce-") for name in push.headers):
        return [_finish(_binary(push, media), _query(push, "channel"), defaults)]
    if not _is_json(media):
        raise Refused(
            UNSUPPORTED_TYPE,
            f"found content type {media[:80]!r}; expected {_STRUCTURED}, {_BATCH}, headers 'ce-…', or application/json "
            "with '?channel='",
        )
    query = _query(push, "channel", "subject", "type")
    return [_finish(_plain(push.body, query, defaults, options), query, defaults)]


def _query(push: Push, *known: str) -> dict[str, str]:
    query = push.query
    for name in query:
        if name not in known:
            raise Malformed(f"query parameter {name[:40]!r}: expected {', '.join(known)} with this content type")
        if len(query.getall(name)) > 1:
            raise Malformed(f"query parameter {name!r}: found more than once; expected once")
        if not query[name] or _CONTROL.search(query[name]):
            raise Malformed(f"query parameter {name!r}: found no text or a control character")
    return dict(query.items())


def _content_type(text: str) -> tuple[str, list[str]]:
    """Return the media type of a header, and every charset that it names."""
    media, *parameters = (part.strip() for part in text.split(";"))
    pairs = (parameter.partition("=") for parameter in parameters)
    return media.lower(), [value.strip('" ').lower() for name, _, value in pairs if name.strip().lower() == "charset"]


def _is_json(media: str) -> bool:
    _, slash, subtype = media.partition("/")
    return bool(slash) and (subtype == "json" or subtype.endswith("+json"))


def _compact(body: bytes, levels: int = strict_json.EVENT_LEVELS) -> bytes:
    """Check that a body is JSON that every reader accepts, with at most so many nested objects and arrays.

    Return it without white space, because each frame is written to many.
    """
    try:
        strict_json.check(body, levels)
    except Malformed as exc:
        raise Malformed(f"the body is not JSON that every reader accepts: {exc}") from exc
    return msgspec.json.format(body, indent=-1)


def _read_batch(push: Push, defaults: Defaults, options: EntityOptions) -> list[PushedEvent]:
    query = _query(push, "channel")
    try:
        items: Sequence[msgspec.Raw] = _batch(_compact(push.body, strict_json.EVENT_LEVELS + 1))
    except Malformed:
        check_each(push.body)
        raise
    except msgspec.DecodeError as exc:
        raise Malformed(f"the body is not a JSON array: {exc}") from exc
    if len(items) > options.batch_limit:
        raise TooLarge(f"found a batch of {len(items)} events; the limit is {options.batch_limit}")
    events = []
    for index, item in enumerate(items):
        try:
            events.append(_finish(event.decode(bytes(item)), query, defaults))
        except Malformed as exc:
            raise Malformed.of_event(index, str(exc)) from exc
    return events


def _binary(push: Push, media: str) -> event.Attributes:
    found: event.Attributes = {}
    for name, value in push.headers.items():
        attribute = name.lower()
        if not attribute.startswith("ce-"):
            continue
        attribute = attribute.removeprefix("ce-")
        if attribute in found or attribute in {"data", "data_base64", "datacontenttype"}:
            raise Malformed(f"header {name[:80]!r}: found more than once, or not an attribute that a header can carry")
        found[attribute] = _raw(event.json_string(_header_text(name, value)))
    if content_type := push.headers.get("Content-Type"):
        found["datacontenttype"] = _raw(event.json_string(_plain_text("Content-Type", content_type)))
    if _is_json(media):
        found["data"] = _raw(_compact(push.body, strict_json.DATA_LEVELS))
    elif push.body:
        found["data_base64"] = _raw(event.json_string(base64.b64encode(push.body).decode()))
    return event.decode(event.encode(found))


def _plain(body: bytes, query: Mapping[str, str], defaults: Defaults, options: EntityOptions) -> event.Attributes:
    if "channel" not in query:
        raise Malformed("query parameter 'channel': missing; plain JSON requires it")
    attributes = {
        "specversion": "1.0",
        "id": defaults.new_id(),
        "source": options.source,
        "type": query.get("type", options.type),
        "subject": query.get("subject"),
        "datacontenttype": "application/json",
    }
    found = {name: _raw(event.json_string(text)) for name, text in attributes.items() if text is not None}
    return {**found, "data": _raw(_compact(body, strict_json.DATA_LEVELS))}


def _finish(found: event.Attributes, query: Mapping[str, str], defaults: Defaults) -> PushedEvent:
    """Add default attributes to an event, and validate it."""
    # Null means "absent", but as data it is a value (JSON event format, 2.2).
    found = {name: raw for name, raw in found.items() if name == "data" or bytes(raw) != b"null"}
    for name, make in _missing(query, defaults).items():
        if name not in found and (text := make()) is not None:
            found[name] = _raw(event.json_string(text))
    event.validate(found)
    channel = event.text_of(found, "channel")
    if channel is None:
        raise Malformed("attribute 'channel': missing; expected in the event or as '?channel='")
    if "cursor" in found:
        raise Malformed("attribute 'cursor': reserved for the relay")
    identity = (event.text_of(found, "id") or "", event.text_of(found, "source") or "")
    return PushedEvent(*identity, event.channel(channel), event.encode(found))


def _missing(query: Mapping[str, str], defaults: Defaults) -> dict[str, Callable[[], str | None]]:
    return {
        "time": lambda: defaults.time,
        "channel": lambda: query.get("channel"),
        "traceparent": defaults.traceparent,
    }


def _header_text(name: str, value: str) -> str:
    """Decode an attribute's header: quotes first, then percent signs, once (HTTP protocol binding, 3.1.3.2)."""
    text = value.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    try:
        return _plain_text(name, unquote(text, errors="strict"))
    except UnicodeDecodeError as exc:
        raise Malformed(f"header {name!r}: percent-encoded bytes are not UTF-8") from exc


def _plain_text(name: str, text: str) -> str:
    if _CONTROL.search(text):
        raise Malformed(f"header {name!r}: found a control character, or bytes that are not UTF-8")
    return text


def _raw(text: bytes) -> msgspec.Raw:
    return msgspec.Raw(text)


def receipt(events: Sequence[PushedEvent]) -> bytes:
    """Return the body of the response once the bus has stored the events."""
    return json.dumps({"accepted": len(events), "ids": [pushed.id for pushed in events]}).encode()
