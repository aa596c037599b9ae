"""CSV in other dialects than that of RFC 4180."""

import json
from typing import Any

import pytest

from services.system_api.sources.file.parsing.delimited import Csv
from services.system_api.sources.file.parsing.parser import UnusableFile
from services.system_api.sources.source import Batch
from tests.unit.services.system_api.sources.file.parsing.test_parser import parse_whole, parser


def dialect(**more: Any) -> Csv:
    given: dict[str, Any] = {"delimiter": ",", "quotes": True, "header": True, "columns": None, "types": {}}
    return Csv("id", None, **(given | more))


def commas(row: bytes) -> bytes:
    """Find the delimiter of rows that are known."""
    assert row.strip() == b"id,b"
    return b","


def rows_of(form: Csv, content: str, portion: int = 1000) -> list[Any]:
    batch = parse_whole(form, content.encode(), portion)
    assert batch.rejects == []
    return [json.loads(record.value or b"")["data"] for record in batch.records]


@pytest.mark.parametrize("portion", [1, 5, 1000])
def test_quotes_and_escapes_of_another_dialect(portion: int) -> None:
    content = "id,b\n'1','O\\'Brien, \\\\ ''x'' \n\\n'\n\"2\",y\n"
    found = rows_of(dialect(quote="'", escape="\\"), content, portion)
    assert found == [{"id": "1", "b": "O'Brien, \\ 'x' \nn"}, {"id": '"2"', "b": "y"}]
    assert rows_of(dialect(quote="'"), "id,b\n1,'it''s'\n") == [{"id": "1", "b": "it's"}]


def test_an_escaped_quote_does_not_end_a_field_of_several_lines() -> None:
    content = 'id,b\n1,"a \\" b\nc"\n2,x\n'
    assert rows_of(dialect(escape="\\"), content) == [{"id": "1", "b": 'a " b\nc'}, {"id": "2", "b": "x"}]


def test_rows_with_too_few_fields_are_padded_if_that_is_wanted() -> None:
    assert rows_of(dialect(pad=True), "id,a,b\n1\n2,x\n") == [
        {"id": "1", "a": None, "b": None}, {"id": "2", "a": "x", "b": None}
    ]  # fmt: skip
    batch = parse_whole(dialect(pad=True), b"id,a\n1,2,3\n")
    assert "found 3 fields; expected 2" in batch.rejects[0].error


@pytest.mark.parametrize("portion", [1, 6, 1000])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_before_the_header_are_skipped(portion: int, newline: str) -> None:
    content = newline.join(['Report "of', 'a;b;c"', "", "id,b", '1,"x"', "2,y", ""])
    found = rows_of(dialect(delimiter="", find=commas, skip_lines=3), content, portion)
    assert found == [{"id": "1", "b": "x"}, {"id": "2", "b": "y"}]


def test_a_file_with_nothing_but_skipped_lines_has_no_rows() -> None:
    assert rows_of(dialect(skip_lines=9), "a\nb\n") == []
    assert rows_of(dialect(skip_lines=2), "a\rb\rid\r1\r") == [{"id": "1"}]


def test_reading_resumes_behind_skipped_lines() -> None:
    content = b"x;y\nid,b\n1,2\n3,4\n"
    resumed = parser(dialect(delimiter="", find=commas, skip_lines=1), offset=13, line=3)
    resumed.resume(content)
    resumed.splitter.feed(content[13:])
    batch = Batch()
    resumed.take(batch, 10)
    assert [json.loads(record.value or b"")["data"] for record in batch.records] == [{"id": "3", "b": "4"}]


def test_lines_before_a_header_that_is_wrong_are_accounted_for() -> None:
    reader, batch = parser(dialect(skip_lines=2)), Batch()
    reader.feed(b"a\nb\nwrong\n1\n")
    with pytest.raises(UnusableFile, match="header"):
        reader.take(batch, 10)
    assert batch.rows == batch.skipped == 2
