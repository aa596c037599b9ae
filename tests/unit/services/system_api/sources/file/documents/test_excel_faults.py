"""Cells of a workbook that have no value although they are not empty make their rows errors."""

import io
import re
import zipfile
from typing import Any

import pytest

from services.system_api.sources.file.documents.excel import read_excel
from services.system_api.sources.file.documents.excel_faults import faults_of
from services.system_api.sources.file.documents.records import UnreadableDocument
from tests.unit.services.system_api.sources.file.document_files import workbook

CELL = '<c r="C{}" t="inlineStr"><is><t>{}</t></is></c><c r="D{}" t="inlineStr"><is><t>{}</t></is></c>'
HEADER = CELL.format(3, "id", 3, "n")
COMPUTE = "found a formula whose value is not in the workbook: open it in Excel, and save it"


def sheet_of(rows: str, *, prefix: str = "", absolute: bool = False, strict: bool = False) -> bytes:
    """Return a workbook whose sheet has other rows, and whose XML is written in another way."""
    copied = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook([["x"]]))) as archive, zipfile.ZipFile(copied, "w") as copy:
        for name in archive.namelist():
            text = archive.read(name).decode()
            if name.endswith("sheet1.xml"):
                text = re.sub("<sheetData>.*</sheetData>", lambda _: f"<sheetData>{rows}</sheetData>", text)
                if prefix:
                    text = re.sub(r"<(/?)(?=\w)", rf"<\1{prefix}:", text).replace(" xmlns=", f" xmlns:{prefix}=")
            if absolute:
                text = text.replace('Target="worksheets/', 'Target="/xl/worksheets/')
            if strict:
                text = text.replace(
                    "http://schemas.openxmlformats.org/officeDocument/2006/relationships",
                    "http://purl.oclc.org/ooxml/officeDocument/relationships",
                )
            copy.writestr(name, text)
    return copied.getvalue()


@pytest.mark.parametrize(
    ("cell", "error"),
    [
        ('<c r="D5" t="e"><v>#N/A</v></c>', "column 'n': found the error #N/A"),
        ("<c r='D5' t='e'><f>1/0</f><v>#DIV/0!</v></c>", "column 'n': found the error #DIV/0!"),
        ('<c t="e"/>', "column 'n': found the error without a name"),
        ('<c r="D5"><f>1+1</f></c>', f"column 'n': {COMPUTE}"),
        ('<c r="D5"><f t="shared" si="0"/></c>', f"column 'n': {COMPUTE}"),
        ('<c r="F5" t="e"><v>#REF!</v></c>', "column 'F': found the error #REF!"),
        ('<c r="D5"><f>1+1</f><v>2</v></c>', None),
        ('<c r="D5" t="str"><f>""</f><v></v></c>', None),
        ('<c r="D5" t="inlineStr"><is><t>t="e" #N/A</t></is></c>', None),
        ('<c r="D5"/>', None),
    ],
)
@pytest.mark.parametrize("form", [{}, {"absolute": True}, {"prefix": "x"}])
def test_a_cell_whose_value_is_not_there_is_an_error_of_its_row(
    cell: str, error: str | None, form: dict[str, Any]
) -> None:
    rows = f'<row r="3">{HEADER}</row><row r="5"><c r="C5"><v>1</v></c>{cell}</row><row><c r="C6"><v>2</v></c></row>'
    records = [each for each in read_excel(io.BytesIO(sheet_of(rows, **form)), None, 0) if each is not None]
    assert [(record.error, record.place) for record in records] == [(error, "row 5"), (None, "row 6")]


def test_a_row_of_errors_alone_is_not_empty() -> None:
    error = '<row r="4"><c r="D4" t="e"><v>#N/A</v></c></row>'
    rows = f'<row r="3">{HEADER}</row>{error}<row r="5"><c r="C5"><v>1</v></c></row>'
    records = [each for each in read_excel(io.BytesIO(sheet_of(rows)), None, 0) if each is not None]
    assert [record.error for record in records] == ["column 'n': found the error #N/A", None]


def test_a_column_has_its_letter_where_the_first_ones_are_empty() -> None:
    rows = f'<row r="3">{HEADER}</row><row r="5"><c r="C5"><v>1</v></c><c r="G5"><v>9</v></c></row>'
    (record,) = [each for each in read_excel(io.BytesIO(sheet_of(rows)), None, 0) if each is not None]
    assert record.error == "column G has no name, and found '9.0' in it"


def test_a_sheet_whose_part_is_not_known_has_no_faults() -> None:
    content = io.BytesIO(sheet_of('<row r="1"><c r="A1" t="e"><v>#N/A</v></c></row>', strict=True))
    assert faults_of(content, "Sheet1") == {1: {0: "found the error #N/A"}}
    assert faults_of(content, "Other") == {}
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("xl/workbook.bin", b"")
    assert faults_of(empty, "Sheet1") == {}
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("_rels/.rels", "<no xml")
    with pytest.raises(UnreadableDocument, match="not a workbook that can be read: "):
        faults_of(empty, "Sheet1")
