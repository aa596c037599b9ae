"""Makes events of rows that were deleted: their data is the key."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from services.system_api.sources.source import Batch, EventBuilder
from services.system_api.sources.table.keys import decoded

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """One column of the key."""

    name: str
    verbatim: bool
    """Whether the text of a value is its JSON, as that of a number is."""


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
        return _encode(
            {column.name: msgspec.Raw(text.encode()) if column.verbatim else text for column, text in values}
        )
