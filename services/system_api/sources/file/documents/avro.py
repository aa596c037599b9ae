"""Reads the records of an Avro file, block by block (Avro 1.12, Object Container Files).

Times have `Z`, local ones no offset. Decimals keep all their digits; bytes are in base64.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, cast

import fastavro

from services.system_api.sources.file.documents.records import (
    FoundRecord,
    Records,
    Stream,
    UnreadableDocument,
    UnreadableValue,
    encode_values,
)
from shared.errors import Malformed

_Convert = Callable[..., Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _converting(kind: str, convert: _Convert) -> _Convert:
    """Return what converts the values of a logical type, of which one that Python does not have is no error."""

    def converted(written: Any, *schemas: Any) -> Any:
        try:
            return convert(written, *schemas)
        except Exception as exc:  # noqa: BLE001 -- each type has its own
            return UnreadableValue(f"found {str(written)[:80]}; expected a value of the type {kind} ({exc})", written)

    return converted


def _nanoseconds(written: int, *_schemas: Any) -> str:
    seconds, fraction = divmod(written, 10**9)
    return f"{(_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()}.{fraction:09}Z"


def _local_nanoseconds(written: int, *_schemas: Any) -> str:
    return _nanoseconds(written).removesuffix("Z")


_readers: dict[str, _Convert] = fastavro.read.LOGICAL_READERS
# Of Avro 1.12, which fastavro leaves numbers.
_readers |= {"long-timestamp-nanos": _nanoseconds, "long-local-timestamp-nanos": _local_nanoseconds}
_readers |= {name: _converting(name.partition("-")[2], convert) for name, convert in _readers.items()}


class _Exact:
    """A stream that returns all bytes that are asked for, unless it ends: fastavro counts on it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._position = 0

    def read(self, size: int) -> bytes:
        pieces, missing = [], size
        while missing and (piece := self._stream.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        self._position += size - missing
        return b"".join(pieces)

    def tell(self) -> int:
        return self._position


def read_avro(stream: Stream, start: int) -> Records:
    """Return the records of a file. The data of those before number `start` is empty: they were published before.

    Raises (while iterating):
        UnreadableDocument: it is no Avro file, or broken from some block on.
    """
    number = 0
    try:
        blocks = fastavro.block_reader(cast("BinaryIO", _Exact(stream)), handle_unicode_errors="surrogateescape")
        for index, block in enumerate(blocks):
            yield None
            if number + block.num_records <= start:
                yield from (FoundRecord(b"", "") for _ in range(block.num_records))
                number += block.num_records
                continue
            for value in block:
                yield _found(value, index) if number >= start else FoundRecord(b"", "")
                number += 1
    except UnreadableDocument:
        raise
    except OSError:
        raise
    except Exception as exc:  # fastavro raises many kinds of them
        raise UnreadableDocument(f"not an Avro file that can be read: {str(exc) or type(exc).__name__}") from exc


def _found(value: Any, block: int) -> FoundRecord:
    place = f"block {block}"
    try:
        return FoundRecord(encode_values(value), place)
    except Malformed as exc:
        return FoundRecord(repr(value).encode(errors="replace"), place, str(exc))
