"""Files of every format with the same records, for tests that every format passes."""

import bz2
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
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


def xml(records: Sequence[Row]) -> str:
    items = "".join(f'<item id="{row["id"]}"><name>{row["name"]}</name><n>{row["n"]}</n></item>\n' for row in records)
    return f"<list><items>\n{items}</items><other><item/></other></list>"


def parquet(records: Sequence[Row]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(records)), file, row_group_size=11)
    return file.getvalue()


def avro(records: Sequence[Row]) -> bytes:
    file = io.BytesIO()
    fields = [{"name": name, "type": "string"} for name in records[0]]
    fastavro.writer(file, {"type": "record", "name": "Row", "fields": fields}, list(records), "deflate", 300)
    return file.getvalue()


def workbook(cells: Sequence[Sequence[object]], *, sheet: str = "Sheet1") -> bytes:
    """Write a minimal workbook; text is text, and everything else a number."""
    file = io.BytesIO()
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    rows_ = "".join(f'<row r="{number}">{_cells(row, number)}</row>' for number, row in enumerate(cells, 1))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{package}/content-types"><Override PartName="/xl/workbook.xml"'
            ' ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{relation}/officeDocument"'
            ' Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{relation}"><sheets><sheet name="Hidden" sheetId="1" state="hidden"'
            f' r:id="r1"/><sheet name="{sheet}" sheetId="2" r:id="r1"/></sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{relation}/worksheet"'
            ' Target="worksheets/sheet1.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/worksheets/sheet1.xml", f'<worksheet xmlns="{main}"><sheetData>{rows_}</sheetData></worksheet>'
        )
    return file.getvalue()


def _cells(row: Sequence[object], number: int) -> str:
    written = ""
    for letter, value in zip("ABCDEFGH", row, strict=False):
        if isinstance(value, str):
            written += f'<c r="{letter}{number}" t="inlineStr"><is><t>{value}</t></is></c>'
        else:
            written += f'<c r="{letter}{number}"><v>{value}</v></c>'
    return written


@dataclass(frozen=True)
class Kind:
    """One way to store the records in a file."""

    name: str
    """The file's name."""
    write: Callable[[Path, Sequence[Row]], None]
    options: dict[str, Any] = field(default_factory=dict)

    def expected(self, records: Sequence[Row]) -> list[Row]:
        """Return the data of the events: an attribute of XML has a mark."""
        mark = "@" if ".xml" in self.name else ""
        return [{f"{mark}id": row["id"], "name": row["name"], "n": row["n"]} for row in records]


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
    kind("a.parquet", parquet),
    kind("a.avro", avro),
    kind("a.avro.gz", lambda records: gzip.compress(avro(records))),
    kind("a.xlsx", lambda records: workbook([["id", "name", "n"], *(list(row.values()) for row in records)])),
    kind(
        "l.xml",
        lambda records: f'<?xml version="1.0" encoding="latin-1"?>{xml(records)}'.encode("latin-1"),
        records="/list/items/item",
        subject="@id",
    ),
    kind(
        "u.xml.zst",
        lambda records: zstandard.ZstdCompressor().compress(xml(records).encode("utf-16")),
        records="/list/items/item",
        encoding="utf-16",
        subject="@id",
    ),
    kind("cr.csv.gz", lambda records: gzip.compress(csv(records).replace(b"\n", b"\r"))),
]
