"""Rows of workbooks: the header names the columns, and cells keep their values."""

import io
from typing import Any

import pytest

from services.system_api.sources.file.documents import excel
from services.system_api.sources.file.documents.excel import _letters, _value, read_excel
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
