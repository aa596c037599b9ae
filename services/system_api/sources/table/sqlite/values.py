"""Encodes SQLite values as JSON without loss, or returns the reason why that is not possible."""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from services.system_api.sources.table import keys

_encode = msgspec.json.Encoder(enc_hook=bytes).encode

Value = int | float | str | bytes | None

NAMES = {int: "'integer'", float: "'real', 'integer'", str: "'text'"}
"""What SQLite calls the types of order values, as text in a statement. A number without fractions may be an integer."""


class BrokenText(bytes):
    """A text value that is not UTF-8."""


class Encoded(NamedTuple):
    """A row as JSON; if `error` is set, what can be shown of it."""

    data: bytes
    error: str | None


def text(raw: bytes) -> str | BrokenText:
    """Decode a text value."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return BrokenText(raw)


def encoded(names: Sequence[str], values: Sequence[Value]) -> Encoded:
    """Encode a row as a JSON object; blobs are in base64."""
    row = dict(zip(names, values, strict=True))
    error = None
    for name, value in row.items():
        # The type test comes first: every value pays for it.
        if type(value) is BrokenText:
            error = f"column {name!r} is not UTF-8 text"
        elif type(value) is float and not math.isfinite(value):
            error = f"column {name!r} is {value}, which JSON cannot represent"
    return Encoded(_encode(row), error)


def as_text(value: Value) -> str | None:
    """Return a key or a subject as text."""
    if value is None or isinstance(value, str):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)


def key_of(values: Sequence[Value]) -> str:
    """Return a key as one text."""
    return keys.encoded([as_text(value) or "" for value in values])


def digest(data: bytes) -> str:
    """Return a hash of the contents of a row."""
    return hashlib.blake2b(data, digest_size=6).hexdigest()
