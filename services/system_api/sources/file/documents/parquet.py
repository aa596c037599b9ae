"""Reads the rows of a Parquet file, row group by row group.

Times are text: with `Z` where the column has a time zone, without an offset where it has none. Decimals and integers
keep all their digits; bytes are in base64.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from services.system_api.sources.file.documents.arrow_values import values_of
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
        UnreadableDocument: it is no Parquet file, broken, or has two columns of one name.
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
        names = Counter(found.schema_arrow.names)
        if twice := next((name for name, count in names.items() if count > 1), None):
            raise UnreadableDocument(f"found column {twice!r} twice; expected distinct names")
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
    columns = [values_of(column) for column in batch.columns]
    names = batch.schema.names
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))
