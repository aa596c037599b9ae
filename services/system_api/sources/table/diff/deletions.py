"""Makes events of rows that were deleted: their data is the key, as it was in the data of the row."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from services.system_api.sources.source import Batch, EventBuilder
from services.system_api.sources.table.keys import decoded

_encode = msgspec.json.Encoder().encode


_SCALAR = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false")
"""A number or a boolean in JSON."""


def verbatim(text: str) -> Any:
    """Return a text that is its own JSON, as that of a number is; any other, such as `NaN`, remains a text."""
    return msgspec.Raw(text.encode()) if _SCALAR.fullmatch(text) else text


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """One column of the key."""

    name: str
    encode: Callable[[str], Any] = str
    """Makes of the text of a value what is encoded as JSON. Raises `ValueError` if the text is none of its type."""


class Deletions:
    """Makes the events of one table."""

    def __init__(self, builder: EventBuilder, key: Sequence[KeyColumn]) -> None:
        """`builder` is one with the type of these events."""
        self._builder = builder
        self._key = key

    def add(self, rows: Iterable[tuple[str, str | None]], revision: int, batch: Batch) -> None:
        """Append an event for each key and subject; rows without a subject had no event, and have none now."""
        self._builder.begin_batch()
        for key, subject in rows:
            if subject is not None:
                batch.records.append(self._builder.event(f"{key}@{revision}", subject, self._data(key)))

    def _data(self, key: str) -> bytes:
        values = zip(self._key, decoded(key, len(self._key)), strict=True)
        return _encode({column.name: _value(column, text) for column, text in values})


def _value(column: KeyColumn, text: str) -> Any:
    try:
        return column.encode(text)
    except ValueError:
        return text  # the column had another type when the row was read
