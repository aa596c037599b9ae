"""Writes files of events of 1 KB in the formats that the measurements read."""

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

TEXT = "x" * 900
CHUNK = 5000
"""Rows of a row group, or of a part of a file that is written at once."""
_AVRO = fastavro.parse_schema(
    {
        "type": "record",
        "name": "order",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "amount", "type": "double"},
            {"name": "note", "type": "string"},
        ],
    }
)
_SHEET = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_WORKBOOK = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Override PartName="/xl/workbook.xml"'
    ' ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1"'
    f' Type="{_DOCUMENT}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    f' xmlns:r="{_DOCUMENT}"><sheets><sheet name="Orders" sheetId="1" r:id="r1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1"'
    f' Type="{_DOCUMENT}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
}
"""The parts of a workbook beside its sheet."""


def rows(events: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file."""
    for number in range(events):
        yield {"id": f"order-{number}", "amount": number * 0.37, "note": f"{number % 97:03d}{TEXT}"}


def write_csv(path: Path, events: int) -> None:
    """Write CSV with a header."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ("id", "amount", "note"))
        writer.writeheader()
        writer.writerows(rows(events))


def write_parquet(path: Path, events: int) -> None:
    """Write row groups of `CHUNK` rows."""
    schema = pa.schema([("id", pa.string()), ("amount", pa.float64()), ("note", pa.string())])
    found = rows(events)
    with pq.ParquetWriter(path, schema, use_dictionary=False, compression="zstd") as writer:
        for first in range(0, events, CHUNK):
            chunk = [next(found) for _ in range(min(CHUNK, events - first))]
            writer.write_table(pa.Table.from_pylist(chunk, schema=schema))


def write_avro(path: Path, events: int) -> None:
    """Write blocks of about 16 KB."""
    with path.open("wb") as file:
        fastavro.writer(file, _AVRO, rows(events))


def write_xml(path: Path, events: int) -> None:
    """Write `<orders>` of `<order>`."""
    with path.open("w") as file:
        file.write("<orders>\n")
        for row in rows(events):
            file.write(
                f"<order><id>{row['id']}</id><amount>{row['amount']}</amount><note>{row['note']}</note></order>\n"
            )
        file.write("</orders>\n")


def write_excel(path: Path, events: int) -> None:
    """Write a workbook with one sheet, whose texts are in its cells."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in _WORKBOOK.items():
            archive.writestr(name, content)
        with archive.open("xl/worksheets/sheet1.xml", "w") as raw, io.TextIOWrapper(raw, encoding="utf-8") as sheet:
            sheet.write(_SHEET)
            _write_row(sheet, 1, ("id", "amount", "note"))
            for number, row in enumerate(rows(events), 2):
                _write_row(sheet, number, row.values())
            sheet.write("</sheetData></worksheet>")


def _write_row(sheet: io.TextIOWrapper, number: int, values: Any) -> None:
    sheet.write(f'<row r="{number}">')
    for column, value in zip("ABC", values, strict=True):
        if isinstance(value, str):
            sheet.write(f'<c r="{column}{number}" t="inlineStr"><is><t>{value}</t></is></c>')
        else:
            sheet.write(f'<c r="{column}{number}"><v>{value}</v></c>')
    sheet.write("</row>")


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "csv": write_csv,
    "parquet": write_parquet,
    "avro": write_avro,
    "xml": write_xml,
    "xlsx": write_excel,
}
"""By extension."""
