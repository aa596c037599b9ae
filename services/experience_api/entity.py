"""What is pushed to `POST /entity`, read into events. Sans-I/O.

CloudEvents over HTTP in its three modes (structured, batched, binary; HTTP protocol binding 1.0.2), and plain JSON,
which becomes the data of one event. The events go on as compact JSON with every value's text unaltered.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import msgspec
from multidict import MultiMapping
from pydantic import Field

from services.experience_api.allow_list import Cidr
from services.experience_api.refusals import UNSUPPORTED_TYPE, Refused
from shared import event
from shared.bus.protocol import Outgoing
from shared.errors import Malformed, TooLarge
from shared.settings import Options

SOURCE_NAME = "entity"
"""Stands for the source in the trail of what was pushed."""

_STRUCTURED = "application/cloudevents+json"
_BATCH = "application/cloudevents-batch+json"
_OWN_SOURCE = "/trelay"
_OWN_TYPE = "trelay."
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode


class EntityOptions(Options):
    """What may be pushed, and from where."""

    allow: tuple[Cidr, ...] = ()
    """The networks that may push, in CIDR notation; by default none. `127.0.0.0/8` and `"::1/128"` are this machine:
    all its users, and everybody behind a proxy on it that adds no header and that `trusted_proxies` does not name."""

    arrives_within: float = Field(default=30.0, gt=0)
    """Seconds in which the body of a request must have come."""

    patience: float = Field(default=10.0, gt=0, le=120)
    """Seconds in which the bus must have it, or the sender is told to try again."""

    batch_limit: int = Field(default=1000, ge=1, le=10_000)
    """Events in one batch: reading more would hold up the subscribers of this replica for tens of milliseconds."""

    source: str = Field(default="/sources/entity", min_length=1)
    """The attribute `source` of plain JSON."""

    type: str = Field(default="entity.pushed", min_length=1)
    """The attribute `type` of plain JSON that does not say it with `?type=`."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What events are given that lack it."""

    time: str
    """The attribute `time`: now."""
    new_id: Callable[[], str]
    traceparent: Callable[[], str]


@dataclass(frozen=True, slots=True)
class PushedEvent:
    """An event that was pushed, ready for the bus."""

    id: str
    channel: event.Channel
    value: bytes

    def record(self, now: float) -> Outgoing:
        """Return the record for the publish topic."""
        trail = event.Trail(SOURCE_NAME, int(now * 1000), self.id)
        return Outgoing(self.channel.encode(), self.value, ((event.TRAIL, trail.pack()),))


@dataclass(frozen=True, slots=True)
class Push:
    """A request to `POST /entity`, as it came."""

    headers: MultiMapping[str]
    query: MultiMapping[str]
    body: bytes


def read_events(push: Push, stamp: Stamp, options: EntityOptions) -> list[PushedEvent]:
    """Read every event of a push, or none.

    Raises:
        Malformed: names the event by its index in a batch, and the attribute.
        TooLarge: a batch of more events than may be.
        Refused: `UNSUPPORTED_TYPE`.
    """
    media, charset = _content_type(push.headers.get("Content-Type", ""))
    if charset not in {"", "utf-8", "utf8", "us-ascii"}:
        raise Refused(UNSUPPORTED_TYPE, f"charset {charset[:40]!r}: events are UTF-8")
    if media == _BATCH:
        return _read_batch(push, stamp, options)
    if media == _STRUCTURED:
        return [_finish(event.decode(_compact(push.body)), _query(push, "channel"), stamp)]
    if any(name.lower().startswith("ce-") for name in push.headers):
        return [_finish(_binary(push, media), _query(push, "channel"), stamp)]
    if not _is_json(media):
        raise Refused(
            UNSUPPORTED_TYPE,
            f"{media[:80]!r}: expected {_STRUCTURED}, {_BATCH}, headers 'ce-…', or application/json with '?channel='",
        )
    query = _query(push, "channel", "subject", "type")
    return [_finish(_plain(push.body, query, stamp, options), query, stamp)]


def _query(push: Push, *known: str) -> dict[str, str]:
    query = push.query
    for name in query:
        if name not in known:
            raise Malformed(f"query parameter {name[:40]!r}: with this content type, {', '.join(known)} is expected")
        if len(query.getall(name)) > 1:
            raise Malformed(f"query parameter {name!r} is there more than once")
        if not query[name] or _CONTROL.search(query[name]):
            raise Malformed(f"query parameter {name!r} is empty or holds a control character")
    return dict(query.items())


def _content_type(text: str) -> tuple[str, str]:
    media, *parameters = (part.strip() for part in text.split(";"))
    pairs = (parameter.partition("=") for parameter in parameters)
    charsets = [value.strip('" ') for name, _, value in pairs if name.strip().lower() == "charset"]
    return media.lower(), charsets[0].lower() if charsets else ""


def _is_json(media: str) -> bool:
    _, slash, subtype = media.partition("/")
    return bool(slash) and (subtype == "json" or subtype.endswith("+json"))


def _compact(body: bytes) -> bytes:
    """Check that a body is JSON in UTF-8, and return it without white space: frames are written to many."""
    try:
        body.decode()  # msgspec passes over the bytes inside of strings
        return msgspec.json.format(body, indent=-1)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Malformed(f"the body is not JSON: {exc}") from exc


def _read_batch(push: Push, stamp: Stamp, options: EntityOptions) -> list[PushedEvent]:
    query = _query(push, "channel")
    try:
        items: Sequence[msgspec.Raw] = _batch(_compact(push.body))
    except msgspec.DecodeError as exc:
        raise Malformed(f"the body is not a JSON array: {exc}") from exc
    if len(items) > options.batch_limit:
        raise TooLarge(f"a batch of {len(items)} events, the limit is {options.batch_limit}")
    events = []
    for index, item in enumerate(items):
        try:
            events.append(_finish(event.decode(bytes(item)), query, stamp))
        except Malformed as exc:
            raise Malformed(f"event {index}: {exc}") from exc
    return events


def _binary(push: Push, media: str) -> event.Attributes:
    found: event.Attributes = {}
    for name, value in push.headers.items():
        attribute = name.lower()
        if not attribute.startswith("ce-"):
            continue
        attribute = attribute.removeprefix("ce-")
        if attribute in found or attribute in {"data", "data_base64", "datacontenttype"}:
            raise Malformed(f"header {name[:80]!r} is there more than once, or no attribute that a header can hold")
        found[attribute] = _raw(event.json_string(_header_text(name, value)))
    if content_type := push.headers.get("Content-Type"):
        found["datacontenttype"] = _raw(event.json_string(_plain_text("Content-Type", content_type)))
    if _is_json(media):
        found["data"] = _raw(_compact(push.body))
    elif push.body:
        found["data_base64"] = _raw(event.json_string(base64.b64encode(push.body).decode()))
    return event.decode(event.encode(found))


def _plain(body: bytes, query: Mapping[str, str], stamp: Stamp, options: EntityOptions) -> event.Attributes:
    if "channel" not in query:
        raise Malformed("plain JSON needs '?channel=' in the address")
    attributes = {
        "specversion": "1.0",
        "id": stamp.new_id(),
        "source": options.source,
        "type": query.get("type", options.type),
        "subject": query.get("subject"),
        "datacontenttype": "application/json",
    }
    found = {name: _raw(event.json_string(text)) for name, text in attributes.items() if text is not None}
    return {**found, "data": _raw(_compact(body))}


def _finish(found: event.Attributes, query: Mapping[str, str], stamp: Stamp) -> PushedEvent:
    """Give an event what it lacks, and check what it has."""
    # Null says "not there", but as data it is a value (JSON event format, 2.2).
    found = {name: raw for name, raw in found.items() if name == "data" or bytes(raw) != b"null"}
    for name, make in _missing(query, stamp).items():
        if name not in found and (text := make()) is not None:
            found[name] = _raw(event.json_string(text))
    event.validate(found)
    channel = event.text_of(found, "channel")
    if channel is None:
        raise Malformed("attribute 'channel' is missing: say it in the event, or with '?channel='")
    if "cursor" in found:
        raise Malformed("attribute 'cursor' is the relay's own")
    if event.text_of(found, "source") == _OWN_SOURCE or (event.text_of(found, "type") or "").startswith(_OWN_TYPE):
        raise Malformed(f"source {_OWN_SOURCE!r} and types that begin with {_OWN_TYPE!r} are the relay's own")
    return PushedEvent(event.text_of(found, "id") or "", event.channel(channel), event.encode(found))


def _missing(query: Mapping[str, str], stamp: Stamp) -> dict[str, Callable[[], str | None]]:
    return {
        "time": lambda: stamp.time,
        "channel": lambda: query.get("channel"),
        "traceparent": stamp.traceparent,
    }


def _header_text(name: str, value: str) -> str:
    """Decode an attribute's header: quotes first, then percent signs, once (HTTP protocol binding, 3.1.3.2)."""
    text = value.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    try:
        return _plain_text(name, unquote(text, errors="strict"))
    except UnicodeDecodeError as exc:
        raise Malformed(f"header {name!r}: its percent-encoded bytes are no UTF-8") from exc


def _plain_text(name: str, text: str) -> str:
    if _CONTROL.search(text):
        raise Malformed(f"header {name!r} holds a control character, or bytes that are no UTF-8")
    return text


def _raw(text: bytes) -> msgspec.Raw:
    return msgspec.Raw(text)


def receipt(events: Sequence[PushedEvent]) -> bytes:
    """Return the answer to a push whose events the bus has."""
    return json.dumps({"accepted": len(events), "ids": [pushed.id for pushed in events]}).encode()
