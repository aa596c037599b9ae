"""The file that is read: how it is named in rejects and events. No I/O."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from shared.bus.protocol import Outgoing
from shared.events.dead_letter import Reject

_BEGINNING = len(b'{"specversion":"1.0"')
"""Of every event that `EventBuilder` makes: what is added comes behind it."""
_LARGEST_INTEGER = 2**31 - 1


class OriginAttribute(StrEnum):
    """An attribute of an event that says where in its file it comes from."""

    FILE = "file"
    """The path of the file; of one in an archive, with its name there."""
    LINE = "line"
    """The number of the line, from 1."""
    BYTES = "bytes"
    """The first and the last byte, from 0: `120-340`."""
    RECORD = "record"
    """The number of the record in a document, from 0."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """The file that is read, as named in event ids and rejects."""

    source: str
    """The source's name."""
    file: str
    """Unique among all files that this source ever reads."""
    path: str
    origin: tuple[OriginAttribute, ...] = ()
    """The attributes that events get."""

    def reject(self, value: bytes, error: str, *, line: int, offset: int, size: int) -> Reject:
        """Return the reject of a piece; `value` is what is kept of its `size` bytes."""
        return Reject(
            f"{self.source}:{self.file}:{offset}",
            value,
            f"{self.path}, line {line}, bytes {offset}-{offset + size - 1}: {error}",
            "source",
            f"{self.source}:{self.path}:{line}",
        )

    def with_line(self, event: Outgoing, *, line: int, offset: int, size: int) -> Outgoing:
        """Return an event with the attributes that it gets: it was made of so many bytes of a line."""
        values = {
            OriginAttribute.LINE: lambda: _integer(line),
            OriginAttribute.BYTES: lambda: f'"{offset}-{offset + size - 1}"',
        }
        return self._with(event, values)

    def with_record(self, event: Outgoing, number: int) -> Outgoing:
        """Return an event with the attributes that it gets: it was made of the record of this number."""
        return self._with(event, {OriginAttribute.RECORD: lambda: _integer(number)})

    def _with(self, event: Outgoing, values: dict[OriginAttribute, Callable[[], str]]) -> Outgoing:
        if not self.origin or event.value is None:
            return event
        known = {OriginAttribute.FILE: lambda: json.dumps(self.path, ensure_ascii=False), **values}
        added = "".join(f',"{name}":{known[name]()}' for name in self.origin if name in known).encode()
        value = event.value
        return event._replace(value=b"%b%b%b" % (value[:_BEGINNING], added, value[_BEGINNING:]))


def _integer(number: int) -> str:
    """Write a number; as text if it has more than the 32 bits of a CloudEvents integer."""
    return str(number) if number <= _LARGEST_INTEGER else f'"{number}"'
