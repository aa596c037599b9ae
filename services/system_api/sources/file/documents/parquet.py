"""Reads the rows of a Parquet file, row group by row group.

Times are text: with `Z` where the column has a time zone, without an offset where it has none. Decimals and integers
keep all their digits; bytes are in base64.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.system_api.sources.file.documents.records import (
    FoundRecord,
    Records,
    UnreadableDocument,
    encode_values,
)
from shared.errors import Malformed

_ROWS = 1000
"""Maximum number of rows that are decoded at once."""
_BYTES = 8 * 1_048_576
"""About how many bytes are decoded at once."""
_BUFFER = 262_144
"""Bytes of a column that are read at once."""


def read_parquet(file: BinaryIO, start: int) -> Records:
    """Return the rows of a file. The data of those before number `start` is empty: they were published before.

    Raises (while iterating):
        UnreadableDocument: it is no Parquet file, or broken.
    """
    try:
        yield from _rows(file, start)
    except pa.ArrowException as exc:
        raise UnreadableDocument(f"not a Parquet file that can be read: {exc}") from exc
    except OSError as exc:
        if exc.errno is not None:
            raise
        raise UnreadableDocument(f"not a Parquet file that can be read: {exc}") from exc


def _rows(file: BinaryIO, start: int) -> Records:
    with pq.ParquetFile(pa.PythonFile(file, mode="r"), buffer_size=_BUFFER, pre_buffer=False) as found:
        number = 0
        for group in range(found.num_row_groups):
            metadata = found.metadata.row_group(group)
            size = metadata.num_rows
            if number + size <= start:
                yield from (FoundRecord(b"", "") for _ in range(size))
                number += size
                continue
            rows = max(1, min(_ROWS, _BYTES * size // max(1, metadata.total_byte_size)))
            for batch in found.iter_batches(batch_size=rows, row_groups=[group], use_threads=False):
                yield None
                for row in _values(batch):
                    yield _found(row, group) if number >= start else FoundRecord(b"", "")
                    number += 1


def _found(row: dict[str, Any], group: int) -> FoundRecord:
    place = f"row group {group}"
    try:
        return FoundRecord(encode_values(row), place)
    except Malformed as exc:
        return FoundRecord(repr(row).encode(errors="replace"), place, str(exc))


def _values(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch as values that are JSON."""
    columns = [_items(_column(column)) for column in batch.columns]
    names = batch.schema.names
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def _items(column: pa.Array) -> list[Any]:
    """Return the values of a column; maps are objects, unless a name occurs twice."""
    try:
        items: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    except KeyError:
        items = column.to_pylist()
    return items


def _column(column: pa.Array) -> pa.Array:
    """Return a column whose times are text: Python has no nanoseconds, and none without a time zone is a time."""
    type_ = column.type
    if pa.types.is_timestamp(type_):
        # In a column with a time zone, values are UTC.
        written = pc.strftime(column.cast(pa.timestamp(type_.unit)), format="%Y-%m-%dT%H:%M:%S")
        return pc.binary_join_element_wise(written, "Z", "") if type_.tz else written
    if pa.types.is_struct(type_):
        fields = [_column(field) for field in column.flatten()]
        return pa.StructArray.from_arrays(
            fields, names=[type_.field(number).name for number in range(type_.num_fields)], mask=column.is_null()
        )
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        kind = pa.ListArray if pa.types.is_list(type_) else pa.LargeListArray
        return kind.from_arrays(
            column.offsets, _column(column.values), mask=column.is_null() if column.null_count else None
        )
    return column
