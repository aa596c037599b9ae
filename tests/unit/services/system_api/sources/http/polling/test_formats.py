"""Bodies become JSON."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.http.polling.formats import BodyParser, Format, format_of, media_type_of
from shared.errors import Malformed


def parsed(
    body: bytes, content_type: str = "application/json", form: Format | None = None, delimiter: str = ","
) -> Any:
    return json.loads(BodyParser(form, delimiter, "system.sources.orders").json(body, content_type))


def test_json_becomes_one_line_and_keeps_its_numbers() -> None:
    body = b'\xef\xbb\xbf{"id": 9007199254740993,\r\n\t"price": 0.10, "text": "a\\nb  c"}'
    parser = BodyParser(None, ",", "place")
    assert parser.json(body, "") == b'{"id":9007199254740993,"price":0.10,"text":"a\\nb  c"}'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json; charset=ISO-8859-1", '{"a":"ä"}'.encode("latin-1")),
        ('text/plain; charset="utf-16"', '{"a":"ä"}'.encode("utf-16")),
        ("application/problem+json", '{"a":"ä"}'.encode()),
    ],
)
def test_the_charset_is_that_of_the_content_type(content_type: str, body: bytes) -> None:
    assert parsed(body, content_type) == {"a": "ä"}


@pytest.mark.parametrize(
    ("body", "content_type", "error"),
    [
        (b"", "", "the body is empty"),
        (b" \n", "text/csv", "the body is empty"),
        (b"<html>", "application/json", "the body is not JSON: JSON is malformed: invalid character"),
        (b'{"a":1', "", "the body is not JSON"),
        (b"[" * 100_000, "", "the body is not JSON"),
        (b"\xff", "", "the body is not utf-8: invalid start byte at byte 0"),
        (b'"\xff"', "text/plain; charset=ascii", "the body is not ascii: ordinal not in range"),
        (b"{}", "application/json; charset=klingon", "unknown charset 'klingon'"),
        (b"{}", "application/json; charset=punycode", "unknown charset 'punycode'"),
        (b"{}", "application/json; charset=undefined", "unknown charset 'undefined'"),
        (b"{}", "application/json; charset=unicode_escape", "unknown charset 'unicode_escape'"),
        (b"{}", "application/json; charset=base64", "unknown charset 'base64'"),
        (b"{}", "application/json; charset=utf-8\0", r"unknown charset 'utf-8\\x00'"),
        (b"{}", "application/json; charset=\udcff", r"unknown charset '\\udcff'"),
        (b'"+2AA-"', "application/json; charset=utf-7", "the body is not utf-7: it gives no text"),
        (b"a\n+2AA-", "text/csv; charset=utf-7", "the body is not utf-7: it gives no text"),
        (b"<a>+2AA-</a>", "text/xml; charset=utf-7", "the body is not utf-7: it gives no text"),
        (b"<?xml version='1.0' encoding='klingon'?><a/>", "text/xml", "the body is not XML"),
        (b"<?xml version='1.0' encoding='undefined'?><a/>", "text/xml", "the body is not XML"),
        (b"<?xml version='1.0' encoding='punycode'?><a/>", "text/xml", "the body is not XML"),
        (b"<?xml version='1.0' encoding='utf-7'?><a>+2AA-</a>", "text/xml", "the body is not XML"),
        (b'a,b\n"1,2', "text/csv", "the body is not CSV"),
        (b"a,b,a\n1,2,3", "text/csv", "names a column twice: a, b, a"),
        (b"\xef\xbb\xbf", "text/csv", "CSV without a header"),
        (b"<a><b></a>", "text/xml", "the body is not XML"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "text/xml", "or has a DTD"),
        (b'<!DOCTYPE a SYSTEM "http://169.254.169.254/"><a/>', "text/xml", "or has a DTD"),
        (b"<a>" * 5000 + b"</a>" * 5000, "text/xml", "nested more than 100 deep"),
    ],
)
def test_what_is_not_of_its_format_is_an_error(body: bytes, content_type: str, error: str) -> None:
    with pytest.raises(Malformed, match=error):
        parsed(body, content_type)


@pytest.mark.parametrize(
    ("body", "charset", "expected"),
    [
        (b"", "", []),
        (b"\r\n\n", "", []),
        (b'\xef\xbb\xbf{"id": 1}\r\n\n{"id": 2}', "", [{"id": 1}, {"id": 2}]),
        ('{"a":"ä"}\n{"a":"ö"}\n'.encode("utf-16"), "utf-16", [{"a": "ä"}, {"a": "ö"}]),
        ('{"a":"\u2028"}\n'.encode(), "utf-8", [{"a": "\u2028"}]),
    ],
)
def test_lines_of_json_are_a_list(body: bytes, charset: str, expected: list[Any]) -> None:
    assert parsed(body, f"application/x-ndjson{'; charset=' * bool(charset)}{charset}") == expected


@pytest.mark.parametrize("line", [b'{"id":', b'{"id":2},{"id":3}', b'{"id":2}] [{"id":3}', b"x"])
def test_a_line_that_is_not_json_is_named(line: bytes) -> None:
    with pytest.raises(Malformed, match=r"^line 3: the body is not JSON"):
        parsed(b'{"id":1}\n\n%b\n' % line, form="ndjson")


def test_a_line_with_a_value_that_no_reader_takes_is_one_record_of_many() -> None:
    first, second = parsed(b'{"id":1,"n":NaN}\n{"id":2}\n', form="ndjson")
    assert (first["id"], second) == (1, {"id": 2})


def test_csv_rows_are_objects_of_texts() -> None:
    body = b'id;name\r\n1;"a;\r\nb"\r\n\r\n2;c\r\n3;d;e\r\n'
    assert parsed(body, "text/csv", delimiter=";") == [
        {"id": "1", "name": "a;\r\nb"},
        {"id": "2", "name": "c"},
        ["3", "d", "e"],
    ]


def test_csv_with_a_header_alone_has_no_rows() -> None:
    assert parsed(b"id,name\n", form="csv") == []


def test_xml_becomes_objects_of_children_attributes_and_texts() -> None:
    body = (
        "<?xml version='1.0' encoding='iso-8859-1'?>"
        "<orders total='2'><order id='1'>ä</order><order id='2'><item/> x </order><note> y </note></orders>"
    ).encode("latin-1")
    assert parsed(body, "application/atom+xml") == {
        "orders": {
            "@total": "2",
            "order": [{"@id": "1", "#text": "ä"}, {"@id": "2", "item": "", "#text": "x"}],
            "note": "y",
        }
    }


def test_the_charset_of_the_content_type_precedes_that_of_the_document() -> None:
    assert parsed("<?xml version='1.0' encoding='ascii'?><a>ä</a>".encode(), "text/xml; charset=utf-8") == {"a": "ä"}


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("text/csv", "csv"),
        ("text/tab-separated-values", "csv"),
        ("TEXT/XML; charset=x", "xml"),
        ("application/rss+xml", "xml"),
        ("application/x-ndjson", "ndjson"),
        ("application/jsonl; charset=utf-8", "ndjson"),
        ("application/json", "json"),
        ("", "json"),
    ],
)
def test_the_content_type_names_the_format(content_type: str, form: Format) -> None:
    assert format_of(media_type_of(content_type)[0]) == form


@given(st.binary(max_size=80), st.sampled_from(["json", "ndjson", "csv", "xml"]))
def test_any_body_becomes_json_or_is_malformed(body: bytes, form: Format) -> None:
    with contextlib.suppress(Malformed):
        parsed(body, form=form)


def test_a_header_within_csv_is_no_record() -> None:
    parser = BodyParser("csv", ",", "place")
    assert json.loads(parser.json(b"id,n\n1,a\nid,n\nn,id\nid,b\n", "text/csv")) == [
        {"id": "1", "n": "a"},
        ["id", "n"],
        ["n", "id"],
        {"id": "id", "n": "b"},
    ]
    assert json.loads(parser.json(b"id\nid\n", "text/csv")) == [{"id": "id"}], "any word may be one of a list"
