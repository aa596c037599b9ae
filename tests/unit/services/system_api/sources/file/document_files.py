"""Files of every format with the same records, for tests that every format passes."""

import bz2
import gzip
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from tests.unit.services.system_api.sources.file.file_poller import FilePoller

Row = dict[str, Any]


def dropping(folder: Path, name: str, *, drop: dict[str, Any] | None = None, **options: Any) -> FilePoller:
    """Make a poller of whole files, which need not be stable for a while."""
    return FilePoller(folder / name, mode="drop", drop={"stable_seconds": 0} | (drop or {}), **options)


def rows(count: int, start: int = 0) -> list[Row]:
    return [
        {"id": str(number), "name": f"Zoë {number}", "n": str(number * 3)} for number in range(start, start + count)
    ]


def ndjson(records: Sequence[Row]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in records)


def csv(records: Sequence[Row]) -> bytes:
    return "".join(f"{line}\n" for line in ["id,name,n", *(",".join(row.values()) for row in records)]).encode()


def write_zip(path: Path, records: Sequence[Row]) -> None:
    half = len(records) // 2
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.csv", csv(records[:half]))
        archive.mkdir("folder")
        archive.writestr("folder/two.csv", csv(records[half:]))


@dataclass(frozen=True)
class Kind:
    """One way to store the records in a file."""

    name: str
    """The file's name."""
    write: Callable[[Path, Sequence[Row]], None]
    options: dict[str, Any] = field(default_factory=dict)


def kind(name: str, encode: Callable[[Sequence[Row]], bytes], **options: Any) -> Kind:
    return Kind(name, lambda path, records: _write(path, encode(records)), options)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


KINDS = [
    kind("a.json", lambda records: json.dumps(records, indent=1).encode()),
    kind("wrapped.json", lambda records: json.dumps({"data": {"items": records}}).encode(), records="data.items"),
    kind("objects.json", lambda records: "\n".join(json.dumps(row, indent=1) for row in records).encode()),
    kind("latin.json", lambda records: json.dumps(records, ensure_ascii=False).encode("latin-1"), encoding="latin-1"),
    kind("a.ndjson.gz", lambda records: gzip.compress(ndjson(records))),
    kind("two.ndjson.gz", lambda records: gzip.compress(ndjson(records[:7])) + gzip.compress(ndjson(records[7:]))),
    kind("a.csv.bz2", lambda records: bz2.compress(csv(records))),
    kind("a.csv.zst", lambda records: zstandard.ZstdCompressor().compress(csv(records))),
    kind("a.json.gz", lambda records: gzip.compress(json.dumps(records).encode())),
    Kind("a.zip", write_zip, {"format": "csv"}),
    kind("a.csv", lambda records: csv(records).decode().encode("utf-16"), encoding="utf-16"),
    kind("a.ndjson", lambda records: ndjson(records).decode().encode("utf-16-be"), encoding="UTF-16BE"),
    kind("l.csv", lambda records: csv(records).decode().encode("latin-1"), encoding="latin-1"),
    kind("l.ndjson.gz", lambda records: gzip.compress(ndjson(records).decode().encode("cp1252")), encoding="cp1252"),
    kind("cr.csv.gz", lambda records: gzip.compress(csv(records).replace(b"\n", b"\r"))),
]
