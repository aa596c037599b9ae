"""One row of CSV."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.file.parsing.columns import ColumnType
from services.system_api.sources.file.parsing.delimited import Csv
from shared.errors import Malformed


def rows(header: bytes | None = b"id,name,qty", **given: Any) -> Csv:
    options: dict[str, Any] = {"delimiter": ",", "quotes": True, "columns": None, "types": {}, "time": None} | given
    reader = Csv("id", header=header is not None, **options)
    if header is not None:
        reader.header(header)
    return reader


@pytest.mark.parametrize(
    ("row", "data"),
    [
        (b"1,pen,2", {"id": "1", "name": "pen", "qty": "2"}),
        (b'1,"a, ""b""\nc",2', {"id": "1", "name": 'a, "b"\nc', "qty": "2"}),
        (b'"1","",2', {"id": "1", "name": "", "qty": "2"}),
        (b'1,6" pipe,', {"id": "1", "name": '6" pipe', "qty": ""}),
        ("1,é,2".encode(), {"id": "1", "name": "é", "qty": "2"}),
    ],
)
def test_a_row_becomes_an_object(row: bytes, data: dict[str, str]) -> None:
    subject, encoded, time = rows().read(row)
    assert (subject, json.loads(encoded), time) == ("1", data, None)


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (b"1,pen", "found 2 fields; expected 3"),
        (b"1,pen,2,x", "found 4 fields; expected 3"),
        (b",pen,2", "column 'id': the subject is empty"),
        (b'1,"pen"x,2', "column 2: the quote is not closed, or text follows"),
        (b'1,"pen,2', "column 2: the quote is not closed"),
    ],
)
def test_a_malformed_row_is_an_error(row: bytes, error: str) -> None:
    with pytest.raises(Malformed, match=error):
        rows().read(row)


@pytest.mark.parametrize("row", ["id,name,qty", "\ufeffid,name,qty", '"name","id","qty"', "id,name,qty,price"])
def test_a_header_within_the_file_is_no_row(row: str) -> None:
    """Files that were joined: it became an event, and rows of other columns are mistaken for those of the first."""
    with pytest.raises(Malformed, match="found a header within the file"):
        rows().read(row.encode())


def test_a_row_with_some_names_of_the_header_is_a_row() -> None:
    assert rows().read(b"id,pen,qty")[0] == "id"
    assert rows().read("\ufeff1,pen,2".encode())[0] == "\ufeff1"
    assert rows(b"id").read(b"id")[0] == "id", "any word may be one of a list"
    assert rows(None, columns=["id", "name"]).read(b"id,name")[0] == "id"


def test_columns_have_types() -> None:
    types = {
        "i": ColumnType.INTEGER,
        "n": ColumnType.NUMBER,
        "b": ColumnType.BOOLEAN,
        "j": ColumnType.JSON,
        "s": ColumnType.STRING,
    }
    reader = rows(b"id;i;n;b;j;s", delimiter=";", types=types)
    assert reader.read(b'1;9007199254740993;-1.50e3;TRUE;{"a": [1]};7')[1] == (
        b'{"id":"1","i":9007199254740993,"n":-1.50e3,"b":true,"j":{"a": [1]},"s":"7"}'
    )
    assert reader.read(b"1;;;;;")[1] == b'{"id":"1","i":null,"n":null,"b":null,"j":null,"s":""}'
    for row, column in (
        (b"1;007;;;;", "i"),
        (b"1;1.0;;;;", "i"),
        (b"1;;1,5;;;", "n"),
        (b"1;;NaN;;;", "n"),
        (b"1;" + b"9" * 400 + b";;;;", "i"),
    ):
        with pytest.raises(Malformed, match=f"column '{column}'"):
            reader.read(row)
    for row, column in ((b"1;;;yes;;", "b"), (b"1;;;;{a};", "j"), (b"1;;;;" + b"[" * 5000 + b";", "j")):
        with pytest.raises(Malformed, match=f"column '{column}'"):
            reader.read(row)


def test_a_time_column_is_the_time_of_the_event() -> None:
    reader = rows(b"id,at", time="at")
    assert reader.read(b"1,2026-01-02T03:04:05Z")[2] == b"2026-01-02T03:04:05Z"
    assert reader.read(b"1,")[2] is None
    with pytest.raises(Malformed, match="column 'at': found 'noon'; expected an RFC 3339 time"):
        reader.read(b"1,noon")


def test_columns_may_be_named_without_a_header_or_in_place_of_its_names() -> None:
    assert rows(None, columns=("id", "b")).read(b"1,2")[1] == b'{"id":"1","b":"2"}'
    assert rows(b"x,y", columns=("id", "b")).read(b"1,2")[1] == b'{"id":"1","b":"2"}'


@pytest.mark.parametrize(
    ("header", "given", "error"),
    [
        (b"key,name", {}, "column 'id' is missing; found 'key', 'name'"),
        (b"id,name,name", {}, "found column 'name' twice"),
        (b"id,name", {"time": "at"}, "column 'at' is missing"),
        (b"id,name", {"types": {"qty": ColumnType.INTEGER}}, "column 'qty' is missing"),
        (b"id,name", {"columns": ("id",)}, "found 2 columns; expected 1, as the settings name them"),
        (b"\x89PNG", {}, None),
    ],
)
def test_a_wrong_header_is_an_error(header: bytes, given: dict[str, Any], error: str | None) -> None:
    if error is None:
        with pytest.raises(UnicodeDecodeError):  # the parser lets only UTF-8 through
            rows(header, **given)
        return
    with pytest.raises(Malformed, match=error):
        rows(header, **given)


def test_without_quotes_a_quote_is_an_ordinary_character() -> None:
    assert rows(quotes=False).read(b'1,"a,2')[1] == b'{"id":"1","name":"\\"a","qty":"2"}'


FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8)


@given(st.lists(FIELD, min_size=3, max_size=3), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_what_the_standard_library_writes_is_read_back(fields: list[str], quoting: int) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=quoting, lineterminator="").writerow(["1", *fields[1:]])  # type: ignore[arg-type]
    assert list(json.loads(rows().read(text.getvalue().encode())[1]).values()) == ["1", *fields[1:]]
