"""The rule for the attributes of every event: CloudEvents 1.0.2, as its SDKs for Python and JavaScript accept them.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#context-attributes
"""

import base64
import re
from datetime import UTC, datetime
from ipaddress import IPv6Address
from typing import Annotated, Any

import msgspec

from shared.errors import Malformed

NAME_PATTERN = r"[a-z0-9]{1,64}"

_NAME = re.compile(NAME_PATTERN)
UNREADABLE = frozenset({"datacontentencoding", "schemaurl", "validate"})
"""Names of extensions that the JavaScript SDK uses itself: it refuses the event."""
INTEGERS = range(-(2**31), 2**31)
"""Those of extensions."""

OWN_SOURCE = "/trelay"
"""The source of Trelay's own events, such as `trelay.gap`."""
OWN_TYPES = "trelay."
"""What the types of Trelay's own events begin with."""

_CHARACTER = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
_USER = r"(?:(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*@)?"
_HOST = r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)"
_REST = rf"(?:\?(?:{_CHARACTER}|[/?])*)?(?:\#(?:{_CHARACTER}|[/?])*)?"
_AUTHORITY = rf"//{_USER}{_HOST}(?::[0-9]*)?(?:/{_CHARACTER}*)*"
_PATH = rf"/(?:{_CHARACTER}+(?:/{_CHARACTER}*)*)?|{_CHARACTER}+(?:/{_CHARACTER}*)*"
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*:"
_URI = re.compile(rf"{_SCHEME}(?:{_AUTHORITY}|{_PATH}){_REST}")
_REFERENCE = re.compile(rf"(?:{_SCHEME})?(?:{_AUTHORITY}|{_PATH})?{_REST}")
# The SDK for Python takes a space or any other letter than `T` as well, that for JavaScript does not always.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)

_scalar = msgspec.json.Decoder(str | int | bool).decode
_to_time = msgspec.json.Decoder(Annotated[datetime, msgspec.Meta(tz=True)]).decode

_TEXTS = {
    "specversion": '"1.0"',
    "id": "text that is not empty",
    "source": "a URI reference (RFC 3986)",
    "type": "text that is not empty",
    "subject": "text that is not empty",
    "time": "an RFC 3339 time with its offset, such as 2026-01-31T12:00:00Z",
    "datacontenttype": "text that is not empty",
    "dataschema": "an absolute URI (RFC 3986)",
    "data_base64": "text in base64",
}
"""What is expected of each text attribute of the specification."""
_SHOWN = 80


def check_attribute(name: str, value: bytes | msgspec.Raw) -> None:
    """Check an attribute other than `data` from outside Trelay; `value` is its JSON text.

    Raises:
        Malformed: names the attribute, what was found and what is expected; or it is reserved for Trelay.
    """
    if not _NAME.fullmatch(name) and name != "data_base64":
        raise Malformed(f"attribute {name[:_SHOWN]!r}: expected at most 64 lower-case letters and digits")
    if name in UNREADABLE:
        raise Malformed(f"attribute {name!r}: the CloudEvents SDK for JavaScript cannot read it; use another name")
    wanted = _TEXTS.get(name)
    try:
        found: Any = _scalar(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if wanted is None:
        good = isinstance(found, str | bool) or (isinstance(found, int) and found in INTEGERS)
        wanted = "text, a boolean or an integer of 32 bits"
    else:
        good = isinstance(found, str) and _fits(name, found, value)
    if not good:
        shown = bytes(value)[:_SHOWN].decode(errors="replace")
        raise Malformed(f"attribute {name!r}: found {shown}; expected {wanted}")
    if (name == "source" and found == OWN_SOURCE) or (name == "type" and found.startswith(OWN_TYPES)):
        # Subscribers would take the event for one of Trelay's own.
        raise Malformed(f"source {OWN_SOURCE!r} and types that begin with {OWN_TYPES!r} are reserved for Trelay")


def _fits(name: str, text: str, value: bytes | msgspec.Raw) -> bool:
    """Whether a text is what the attribute of this name requires."""
    match name:
        case "data_base64":
            return _is_base64(text)
        case "source":
            return bool(text) and _is_uri(_REFERENCE.fullmatch(text))
        case "specversion":
            return text == "1.0"
        case "dataschema":
            return _is_uri(_URI.fullmatch(text))
        case "time":
            return _TIME.fullmatch(text) is not None and _is_time(value)
        case _:
            return bool(text)


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def _is_time(value: bytes | msgspec.Raw) -> bool:
    """Whether a time exists in the calendar, in UTC as well."""
    try:
        _to_time(value).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        return False
    return True


def _is_uri(found: re.Match[str] | None) -> bool:
    """Whether a URI was found, whose host is valid where it is an address of IPv6."""
    if found is None or found["address"] is None:
        return found is not None
    try:
        IPv6Address(found["address"])
    except ValueError:
        return False
    return True
