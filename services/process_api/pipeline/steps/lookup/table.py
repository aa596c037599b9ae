"""A static table: a CSV or JSON file that is read when the pipelines are loaded."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from services.process_api.pipeline.steps.lookup.keys import encoded, name_of
from shared.errors import Malformed
from shared.events.event import check_data
from shared.expression import exact
from shared.expression.nodes import Raw

_LIMIT = 64 * 1_048_576
"""Bytes of a file: it is kept in memory, several times as large."""

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_rows = msgspec.json.Decoder(list[dict[str, Raw]]).decode


def read_table(path: Path, key_column: str | None) -> Mapping[str, bytes]:
    """Return the values of a table as JSON text, by the names of their keys; of several rows of a key the last one.

    Raises:
        ValueError: the file cannot be read, or is not a table.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT + 1)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise ValueError(f"the file {str(path)[:200]!r} cannot be read: {reason}") from None
    if len(content) > _LIMIT:
        raise ValueError(f"the file {str(path)[:200]!r} is larger than {_LIMIT} bytes")
    try:
        rows = _json_rows(content, key_column) if path.suffix == ".json" else _csv_rows(content, key_column)
        return dict(rows)
    except (ValueError, Malformed, RecursionError, csv.Error) as exc:
        raise ValueError(f"the file {str(path)[:200]!r}: {exc}") from None


def _csv_rows(content: bytes, key_column: str | None) -> Iterator[tuple[str, bytes]]:
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    names = reader.fieldnames or ()
    key = _column(key_column, list(names))
    for row in reader:
        if None in row or None in row.values():
            raise ValueError(f"line {reader.line_num}: expected {len(names)} fields, as in the header")
        yield row[key], encoded(row)


def _json_rows(content: bytes, key_column: str | None) -> Iterator[tuple[str, bytes]]:
    try:
        if content.lstrip()[:1] == b"{":
            for name, value in _members(content).items():
                check_data(bytes(value))
                yield name, bytes(value)
            return
        rows = _rows(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ValueError(f"expected an array of objects, or an object: {exc}") from None
    key = _column(key_column, list(rows[0]) if rows else [])
    for number, row in enumerate(rows):
        if key not in row:
            raise ValueError(f"item {number} has no member {key!r}")
        found: Any = exact.value(bytes(row[key]))
        yield name_of(found), encoded(row)


def _column(wanted: str | None, names: list[str]) -> str:
    if wanted is not None and names and wanted not in names:
        raise ValueError(f"key_column: found no {wanted!r} among {', '.join(names)[:200]}")
    return wanted or (names[0] if names else "")
