"""Recognises a CloudEvent in a message: structured mode by its content type, binary mode by its headers.

Source: https://github.com/cloudevents/spec/tree/v1.0.2/cloudevents/bindings (AMQP, Kafka, MQTT and NATS). No I/O.
"""

import base64

import msgspec

from services.system_api.sources.queue.message import Message
from shared.errors import Malformed
from shared.events import event

_STRUCTURED = "application/cloudevents+json"
_BATCH = "application/cloudevents-batch+json"
_FORMATS = "application/cloudevents"
_PREFIXES = ("ce_", "ce-", "cloudEvents:", "cloudEvents_")
"""Of the headers in binary mode: Kafka's, that of NATS and HTTP, and the two of AMQP."""
_REQUIRED = ("specversion", "id", "source", "type")
_NOT_IN_HEADERS = {"data", "data_base64", "datacontenttype"}
_OURS = ("channel", "cursor")
"""Attributes that Trelay decides on."""


def media_type(message: Message) -> str:
    """Return the content type of a message without its parameters, in lower case; empty without one."""
    return (message.content_type or "").partition(";")[0].strip().lower()


def is_json(media: str) -> bool:
    """Return whether a media type is a JSON type."""
    _, slash, subtype = media.partition("/")
    return bool(slash) and (subtype == "json" or subtype.endswith("+json"))


def attributes_of(message: Message, media: str) -> event.Attributes | None:
    """Return the attributes and the data of a CloudEvent; None for a message that is none.

    The data is not checked.

    Raises:
        Malformed: names the attribute that is wrong.
    """
    if media.startswith(_FORMATS):
        if media != _STRUCTURED:
            kind = "a batch of CloudEvents" if media == _BATCH else f"a CloudEvent as {media!r}"
            raise Malformed(f"content type: found {kind}; expected {_STRUCTURED}, one event a message")
        return _finished(event.decode(message.body))
    found = _binary(message)
    if found is None:
        return None
    if message.content_type:
        found["datacontenttype"] = _raw(message.content_type)
    if is_json(media) or not media:
        found["data"] = msgspec.Raw(message.body)
    elif message.body:
        found["data_base64"] = _raw(base64.b64encode(message.body).decode())
    return _finished(event.decode(event.encode(found)))


def _binary(message: Message) -> event.Attributes | None:
    """Return the attributes in the headers of a message in binary mode."""
    headers = message.headers
    if not headers:
        return None
    for prefix in (*_PREFIXES, ""):
        # MQTT's user properties have the names of the attributes: then all required ones must be there.
        if all(f"{prefix}{name}" in headers for name in _REQUIRED):
            break
    else:
        return None
    found: event.Attributes = {}
    for name, value in headers.items():
        attribute = name.removeprefix(prefix)
        if not name.startswith(prefix) or (not prefix and not attribute.isalnum()):
            continue
        if attribute.lower() in _NOT_IN_HEADERS:
            raise Malformed(f"header {name[:80]!r}: not an attribute that a header can carry")
        found[attribute.lower()] = _raw(value)
    return found


def _finished(found: event.Attributes) -> event.Attributes:
    # Null means "absent", but as data it is a value (JSON event format, 2.2).
    found = {
        name: raw for name, raw in found.items() if name not in _OURS and (name == "data" or bytes(raw) != b"null")
    }
    event.validate(found)
    return found


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(event.json_string(text))
