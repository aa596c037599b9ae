"""Values of SQLite as JSON, exactly, or the reason why not."""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

_encode = msgspec.json.Encoder(enc_hook=bytes).encode

Value = int | float | str | bytes | None


class BrokenText(bytes):
    """What a column says is text and is not UTF-8."""


class Encoded(NamedTuple):
    """A row as JSON, or what can be shown of it and what is wrong."""

    data: bytes
    error: str | None


def text(raw: bytes) -> str | BrokenText:
    """Decode what SQLite holds as text."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return BrokenText(raw)


def encoded(names: Sequence[str], values: Sequence[Value]) -> Encoded:
    """Write a row as a JSON object; blobs in base64, as the data of events that are not JSON are."""
    row = dict(zip(names, values, strict=True))
    error = None
    for name, value in row.items():
        # A type test first: it is what all values pay.
        if type(value) is BrokenText:
            error = f"column {name!r} is no UTF-8 text"
        elif type(value) is float and not math.isfinite(value):
            error = f"column {name!r} is {value}, which JSON cannot say"
    return Encoded(_encode(row), error)


def as_text(value: Value) -> str | None:
    """Write a key or a subject."""
    if value is None or isinstance(value, str):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)


def digest(data: bytes) -> str:
    """Tell one content from another."""
    return hashlib.blake2b(data, digest_size=6).hexdigest()
