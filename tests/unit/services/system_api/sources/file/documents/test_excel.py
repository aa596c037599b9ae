"""Rows of workbooks: the header names the columns, and cells keep their values."""

import io
import re
import zipfile
from typing import Any

import pytest

from services.system_api.sources.file.documents import excel
from services.system_api.sources.file.documents.excel import _letters, _value, read_excel
from services.system_api.sources.file.documents.excel_faults import faults_of
from services.system_api.sources.file.documents.records import FoundRecord, UnreadableDocument
from tests.unit.services.system_api.sources.file.document_files import workbook


def found(*cells: list[object], sheet: str | None = None, skip: int = 0) -> list[FoundRecord]:
    records = read_excel(io.BytesIO(workbook(cells)), sheet, skip)
    return [record for record in records if record is not None]


def test_rows_behind_the_header_are_records() -> None:
    records = found(["id", "name", 7], [1, "a", 1.5], [2.0, "", 1e20], ["x", "é", -0.5])
    assert [record.data.decode() for record in records] == [
        '{"id":1,"name":"a","7":1.5}',
        '{"id":2,"name":null,"7":1e20}',
        '{"id":"x","name":"é","7":-0.5}',
    ]
    assert [record.place for record in records] == ["row 2", "row 3", "row 4"]


def test_rows_before_the_header_are_skipped_and_empty_ones_left_out() -> None:
    records = found(["Report"], [], ["id"], [1], [""], [2], skip=2)
    assert [(record.data, record.place) for record in records] == [(b'{"id":1}', "row 4"), (b'{"id":2}', "row 6")]
    assert found([], ["id"], [1], skip=0)[0].place == "row 3"


def test_a_sheet_is_chosen_by_its_name() -> None:
    assert len(found(["id"], [1], sheet="Hidden")) == 1
    assert len(found(["id"], [1], sheet="Sheet1")) == 1
    with pytest.raises(UnreadableDocument, match="found no sheet 'Other'; found 'Hidden', 'Sheet1'"):
        found(["id"], sheet="Other")


def test_a_value_in_a_column_without_a_name_is_an_error_of_its_row() -> None:
    records = found(["id", "", "n"], [1, "", 2], [3, "stray", 4])
    assert records[0].data == b'{"id":1,"n":2}'
    assert records[1].error == "column B has no name, and found 'stray' in it"


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


@pytest.mark.parametrize(
    ("cells", "error"),
    [
        ([["a", "b", "a"]], "row 1: found column 'a' twice"),
        ([], "found no names of columns; set excel.skip_rows"),
        ([["", ""], []], "row 1: found no names of columns"),
    ],
)
def test_the_header_must_name_the_columns(cells: list[list[object]], error: str) -> None:
    with pytest.raises(UnreadableDocument, match=error):
        found(*cells)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello" * 100, workbook([["id"]])[:-100]])
def test_what_is_no_workbook_is_an_error(content: bytes) -> None:
    with pytest.raises(UnreadableDocument, match="not a workbook that can be read: "):
        list(read_excel(io.BytesIO(content), None, 0))


def test_a_workbook_above_the_limit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    content = workbook([["id"], ["x" * 100_000]])
    assert len(content) < 5000
    monkeypatch.setattr(excel, "LARGEST", 50_000)
    with pytest.raises(UnreadableDocument, match="bytes unpacked, the limit is 50000; save it as CSV"):
        list(read_excel(io.BytesIO(content), None, 0))


@pytest.mark.parametrize(("cell", "value"), [(5.0, 5), (2.0**60, 2.0**60), ("", None), (True, True), (0.5, 0.5)])
def test_a_cell_is_a_value(cell: Any, value: Any) -> None:
    assert _value(cell) == value
    assert type(_value(cell)) is type(value)


@pytest.mark.parametrize(("index", "letters"), [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA")])
def test_columns_have_letters(index: int, letters: str) -> None:
    assert _letters(index) == letters
