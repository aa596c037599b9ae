"""Reads what a client sends: any text or bytes, or data with an id, which is stored once. Sans-I/O."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from services.experience_api.producers.once.keys import valid_key
from services.experience_api.refusals import MALFORMED, Refused
from shared.events import event, strict_json

KIND = "trelay.message"
"""The `type` of a message with an id."""
_NAMED_BYTES = 8192
"""Bytes of the largest message whose fault is named."""
_EXPECTED = 'expected {"type": "trelay.message", "id": "<id>", "data": …}, or "data_base64" in the place of "data"'


class Sent(NamedTuple):
    """One message."""

    id: str | None
    """The id that the client gave it: another message with this id is the same."""
    attributes: Mapping[str, bytes]
    """The attributes of its event that hold the data, encoded as JSON."""


class _Kind(msgspec.Struct):
    type: str = ""


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    id: str
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | msgspec.UnsetType = msgspec.UNSET


_kind = msgspec.json.Decoder(_Kind).decode
_message = msgspec.json.Decoder(_Message).decode
_lenient = json.JSONDecoder(strict=False).decode
"""Reads more than other readers do, such as lone surrogates, which JavaScript writes."""


def read_sent(message: bytes) -> Sent:
    """Read a message.

    Raises:
        Refused: `MALFORMED`: it has the type of one with an id, and another form, or data that breaks the rule of
            `strict_json`.
    """
    if not _has_id(message):
        return Sent(None, data_of(message))
    try:
        found = _message(message)
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise Refused(MALFORMED, f"{_fault_of(message) or exc}; {_EXPECTED}") from exc
    if not valid_key(found.id):
        raise Refused(MALFORMED, "id: expected 1 to 255 visible ASCII characters, such as a UUID")
    if isinstance(found.data, msgspec.Raw) and isinstance(found.data_base64, msgspec.UnsetType):
        return Sent(found.id, _checked(bytes(found.data)))
    if isinstance(found.data_base64, str) and isinstance(found.data, msgspec.UnsetType):
        try:
            content = base64.b64decode(found.data_base64, validate=True)
        except (binascii.Error, ValueError) as exc:
            raise Refused(MALFORMED, f"data_base64: {exc}") from exc
        return Sent(found.id, _bytes(content))
    raise Refused(MALFORMED, _EXPECTED)


def data_of(message: bytes) -> Mapping[str, bytes]:
    """Return a message as the data of an event: JSON as it is, other text as a string, anything else as base64.

    JSON that not every reader accepts is text.
    """
    try:
        text = message.decode()
    except UnicodeDecodeError:
        return _bytes(message)
    if strict_json.obeys(message):
        return _json(message)
    return {"datacontenttype": event.json_string("text/plain"), "data": event.json_string(text)}


def _has_id(message: bytes) -> bool:
    if KIND.encode() not in message or not message.lstrip().startswith(b"{"):
        return False
    try:
        return _kind(message).type == KIND
    except (msgspec.MsgspecError, RecursionError):
        return _would_have_id(message)


def _would_have_id(message: bytes) -> bool:
    """Return whether a message has an id, and is not JSON that every reader accepts.

    As text without an id, it would be stored again each time it is sent again.
    """
    try:
        found = _lenient(message.decode(errors="replace"))
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and bool(found.get("type") == KIND)


def _checked(data: bytes) -> Mapping[str, bytes]:
    if not strict_json.obeys(data):
        raise Refused(MALFORMED, f"data: {_fault_of(data) or 'found JSON that not every reader accepts'}")
    return _json(data)


def _fault_of(document: bytes) -> str | None:
    """Return what is wrong with a document; None of a large one, for which that would take long."""
    return strict_json.fault_of(document) if len(document) <= _NAMED_BYTES else None


def _json(data: bytes) -> Mapping[str, bytes]:
    return {"datacontenttype": event.json_string("application/json"), "data": msgspec.json.format(data, indent=-1)}


def _bytes(content: bytes) -> Mapping[str, bytes]:
    return {"data_base64": event.json_string(base64.b64encode(content).decode())}
