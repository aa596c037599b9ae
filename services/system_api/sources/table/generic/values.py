"""Makes JSON and keys of the values that a driver returns. No I/O."""

import base64
import hashlib
import math
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from services.system_api.sources.table import keys

_DIGEST = 8
_encode = msgspec.json.Encoder().encode


def encoded(columns: Sequence[str], values: Sequence[Any]) -> tuple[bytes, str | None]:
    """Return a row as a JSON object, and why it cannot be an event."""
    row: dict[str, Any] = {}
    error = None
    for name, value in zip(columns, values, strict=True):
        if isinstance(value, float | Decimal) and not math.isfinite(value):
            row[name] = str(value)
            error = f"column {name!r} is {value}, which JSON cannot represent"
        else:
            row[name] = _json(value)
    try:
        return _encode(row), error
    except UnicodeEncodeError:
        shown = {name: repr(value) if isinstance(value, str) else value for name, value in row.items()}
        return _encode(shown), "a text has a character that UTF-8 cannot represent"


def key_of(values: Sequence[Any]) -> str:
    """Return the key of a row; see `keys`."""
    return keys.encoded([text_of(value) for value in values])


def key_values(key: str, numbers: Sequence[bool]) -> list[Any]:
    """Return the values of a key; `numbers` tells which columns are numbers."""
    parts = keys.decoded(key, len(numbers))
    return [_number(part) if is_number else part for part, is_number in zip(parts, numbers, strict=True)]


def text_of(value: Any) -> str:
    """Return a value of a key or a subject as text."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, datetime | date) else str(value)


def digest(data: bytes) -> str:
    """Return what distinguishes one state of a row from others."""
    return hashlib.blake2b(data, digest_size=_DIGEST).hexdigest()


def _number(text: str) -> int | Decimal:
    return Decimal(text) if "." in text else int(text)


def _json(value: Any) -> Any:
    match value:
        case Decimal():
            return msgspec.Raw(f"{value:f}".encode())
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case datetime() | date() | time():
            return value.isoformat()
        case None | bool() | int() | float() | str():
            return value
        case UUID() | timedelta() | _:
            return str(value)
