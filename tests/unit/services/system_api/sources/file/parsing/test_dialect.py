"""The delimiter of a CSV file: found in its first row, or the file is refused."""

import json
from typing import Any

import pytest

from services.system_api.sources.file.parsing.delimited import Csv
from services.system_api.sources.file.parsing.dialect import CANDIDATES, DelimiterFinder, UnknownDialect
from services.system_api.sources.file.parsing.parser import UnusableFile
from services.system_api.sources.source import Batch
from tests.unit.services.system_api.sources.file.parsing.test_parser import parse_whole, parser


def finder(*names: str, count: int | None = None, found: list[Any] | None = None, **more: Any) -> DelimiterFinder:
    given: dict[str, Any] = {"pad": False, "quote": b'"', "escape": b"", **more}
    logged = [] if found is None else found
    return DelimiterFinder({name.encode() for name in names}, count, found=lambda *each: logged.append(each), **given)


def form(sniff: DelimiterFinder, **more: Any) -> Csv:
    given: dict[str, Any] = {"quotes": True, "header": True, "columns": None, "types": {}, **more}
    return Csv("id", None, delimiter="", find=sniff, **given)


SAMPLES: dict[str, tuple[str, str]] = {
    "Excel in Germany": ("id;Bezeichnung;Preis, netto;Menge\r", ";"),
    "Excel in the United States": ("id,description,price,quantity\r", ","),
    "PostgreSQL's psql": ("id|name|price", "|"),
    "MySQL's client": ("id\tname\tprice", "\t"),
    "quoted throughout": ('"id";"name, first";"a|b|c"', ";"),
    "names with units": ("id,speed (m;s),load|mean|max|min", ","),
    "a comma in each name but the key": ("a, b;c, d;id", ";"),
    "doubled quotes": ('"size ""A"", in";id;x', ";"),
}


@pytest.mark.parametrize(("row", "delimiter"), SAMPLES.values(), ids=SAMPLES)
def test_the_delimiter_is_the_one_that_cuts_out_the_columns_of_the_settings(row: str, delimiter: str) -> None:
    assert finder("id")(row.encode()).decode() == delimiter


def test_an_escape_before_a_quote_does_not_end_a_field() -> None:
    assert finder("id", escape=b"\\", quote=b"'")(rb"'it\'s, or';id;x") == b";"


@pytest.mark.parametrize(
    ("row", "count", "pad", "delimiter"),
    [
        ("1,5;2,5", 2, False, ";"),
        ("1;2;3", 3, False, ";"),
        ("1;a,b", 3, True, None),
        ("1|2,5|", 3, False, "|"),
        ("1;a,b", 2, False, None),
        ("1;a,b", 3, False, None),
        ("1", 1, False, ","),
        ("1", 2, False, None),
    ],
)
def test_without_a_header_the_number_of_columns_decides(row: str, count: int, pad: bool, delimiter: str | None) -> None:
    sniff = finder(count=count, pad=pad)
    if delimiter is None:
        with pytest.raises(UnknownDialect, match="set the delimiter"):
            sniff(row.encode())
    else:
        assert sniff(row.encode()).decode() == delimiter


@pytest.mark.parametrize(
    ("row", "refusal"),
    [
        ("id", "found 'id' in the first row; expected a comma, semicolon, tab or bar: set the delimiter"),
        ("id name", "found 'id name' in the first row; expected a comma, semicolon, tab or bar: set the delimiter"),
        ('"id,name"', """found '"id,name"' in the first row; expected a comma"""),
        ("a,b;c", "found 'a,b;c' in the first row, with comma and semicolon, of which none fits the columns that"),
        ("sep=;", "found 'sep=;', a line for Excel; set skip_lines to leave it out"),
    ],
)
def test_a_file_where_it_is_not_clear_is_refused_with_the_reason(row: str, refusal: str) -> None:
    with pytest.raises(UnknownDialect) as raised:
        finder("id")(row.encode())
    assert refusal in str(raised.value)


def test_one_that_fits_no_better_than_another_is_not_guessed() -> None:
    with pytest.raises(UnknownDialect, match=r"with comma and bar, of which all fit 2 columns: set the delimiter"):
        finder(count=2)(b"a,b|c")


def test_each_delimiter_is_reported_once_with_the_row_it_was_found_in() -> None:
    found: list[Any] = []
    sniff = finder("id", found=found)
    for row in (b"id;a", b"id;b", b"id,c", b"id;d"):
        sniff(row)
    assert found == [(";", "id;a"), (",", "id,c")]


def test_a_wrong_header_says_what_is_missing() -> None:
    with pytest.raises(UnusableFile, match="column 'id' is missing; found 'a', 'b'"):
        parse_whole(form(finder("id")), b"a;b\n1;2\n")


@pytest.mark.parametrize("header", [True, False])
def test_nothing_of_a_refused_file_is_read(header: bool) -> None:
    sniff = finder("id") if header else finder(count=2)
    columns = None if header else ("id", "b")
    reader, batch = parser(form(sniff, header=header, columns=columns)), Batch()
    reader.feed(b"id\n1\n" if header else b"1;2,3\n4;5\n")
    with pytest.raises(UnusableFile, match=r"in/a\.ndjson: .*csv\.delimiter: found"):
        reader.take(batch, 10)
    assert (batch.records, batch.rejects) == ([], [])


def test_a_refused_file_without_a_newline_at_its_end_is_not_read_either() -> None:
    reader, batch = parser(form(finder("id"))), Batch()
    reader.feed(b"id")
    reader.splitter.finish()
    with pytest.raises(UnusableFile, match=r"csv\.delimiter"):
        reader.take(batch, 10)


@pytest.mark.parametrize("header", [True, False])
def test_reading_resumes_with_the_delimiter_of_the_checkpoint(header: bool) -> None:
    """Also where other rules than those of today have found it."""
    head = b"id;b\n1;2\n" if header else b"1;2\n3;4\n"
    columns = None if header else ("id", "b")

    def refuse(row: bytes) -> bytes:
        raise UnknownDialect(repr(row))

    given: dict[str, Any] = {"quotes": True, "types": {}, "header": header, "columns": columns, "find": refuse}
    reader, batch = parser(Csv("id", None, delimiter="", **given), offset=len(head), line=2), Batch()
    reader.resume(head, ";")
    assert reader.delimiter == ";"
    reader.feed(b"7;8,9\n")
    reader.take(batch, 10)
    assert [json.loads(record.value or b"")["data"] for record in batch.records] == [{"id": "7", "b": "8,9"}]


def test_a_delimiter_of_the_settings_is_not_replaced_by_one_that_was_found() -> None:
    csv = Csv("id", None, delimiter=",", quotes=True, header=True, columns=None, types={})
    reader, batch = parser(csv, offset=7, line=1), Batch()
    reader.resume(b"id,b;c\n", ";")
    reader.feed(b"1,2;3\n")
    reader.take(batch, 10)
    assert json.loads(batch.records[0].value or b"")["data"] == {"id": "1", "b;c": "2;3"}
    assert reader.delimiter == ""


@pytest.mark.parametrize("delimiter", [each.decode() for each in CANDIDATES])
@pytest.mark.parametrize("portion", [1, 1000])
def test_the_delimiter_does_not_depend_on_portions(delimiter: str, portion: int) -> None:
    content = f'\nid{delimiter}"a,;|\t, b"\n1{delimiter}x\n'
    batch = parse_whole(form(finder("id")), content.encode(), portion)
    assert [json.loads(record.value or b"")["data"] for record in batch.records] == [{"id": "1", "a,;|\t, b": "x"}]
