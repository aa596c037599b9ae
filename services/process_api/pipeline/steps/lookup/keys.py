"""The keys of look-ups, and values of databases as JSON. Sans-I/O."""

from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from yarl import URL

from shared.errors import Malformed
from shared.events.event import check_data
from shared.expression import exact
from shared.runtime.redaction import redact

_SHOWN = 80
_DOTS = frozenset({".", ".."})
_string = msgspec.json.Decoder(str).decode


class Key(NamedTuple):
    """What is looked up."""

    name: str
    """The text of the key: `7` for 7 and for "7", as databases and URLs compare them."""
    value: str | int | float | bool | Decimal
    """The value that a query gets."""


def key_of(written: bytes | None) -> Key | None:
    """Return the key that an expression gives as JSON text; None where it is undefined, null or empty.

    Raises:
        Malformed: it is an array or an object.
    """
    if written is None or written in {b"null", b'""'}:
        return None
    if written[:1] == b'"':
        text = _string(written)
        return Key(text, text)
    if written[:1] in {b"[", b"{"}:
        shown = written[:_SHOWN].decode(errors="replace")
        raise Malformed(f"key: found {shown}; expected text, a number or a boolean")
    value = exact.value(written)
    return Key(name_of(value), value)


def url_of(written: str) -> URL:
    """Return a URL that values of an event are part of, each percent-encoded.

    Raises:
        Malformed: a value is `.` or `..` as a segment of the path, which would name another resource.
    """
    if not _DOTS.isdisjoint(urlsplit(written).path.split("/")):
        shown = redact(written)[:_SHOWN]
        raise Malformed(f"url: found '.' or '..' as a segment of the path of {shown!r}; expected a value")
    return URL(written, encoded=True)


def name_of(value: Any) -> str:
    """Return the text of a value by which it is compared with keys."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal) and (whole := exact.whole(value)) is not None:
        return str(whole)
    return str(value)


def encoded(value: Any) -> bytes:
    """Return a value of a database as JSON text.

    Raises:
        Malformed: it has no form in JSON.
    """
    try:
        written = _encode(value)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as exc:
        raise Malformed(f"the look-up gives a value that is not JSON: {exc}") from exc
    check_data(written)
    return written


def _plain(value: Any) -> Any:
    return str(value)


_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=_plain).encode
