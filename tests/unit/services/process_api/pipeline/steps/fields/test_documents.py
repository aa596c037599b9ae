"""XML and CSV."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.process_api.pipeline.steps.fields import documents
from shared.errors import Malformed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<a>1</a>", {"a": "1"}),
        ("<a/>", {"a": ""}),
        ('<a x="1">t<b>2</b><b>3</b><b>4</b></a>', {"a": {"@x": "1", "b": ["2", "3", "4"], "#text": "t"}}),
        ('<n:a xmlns:n="urn:x"><n:b>1</n:b></n:a>', {"a": {"b": "1"}}),
    ],
)
def test_xml_is_read(text: str, value: Any) -> None:
    assert documents.from_xml(text) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<a>", "not well-formed XML"),
        ("", "not well-formed XML"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "entities, which are not expanded"),
        ("<a>" * 300 + "</a>" * 300, "more than 200 levels"),
        ('<!DOCTYPE a SYSTEM "a.dtd"><a><c d=">&eacute;"/></a>', "the entity &eacute;, which it does not"),
        ('<n:a xmlns:n="urn:x" x="1" n:x="2"/>', "two attributes of <a> differ in their namespace alone"),
    ],
)
def test_bad_xml_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        documents.from_xml(text)


def test_xml_is_written() -> None:
    value = {"a": {"@x": "1", "b": ["2", True, None], "c": {"#text": "<&>", "@y": 2}}}
    assert documents.to_xml(value) == ('<a x="1"><b>2</b><b>true</b><b /><c y="2">&lt;&amp;&gt;</c></a>')


def test_ends_of_lines_in_xml_come_back_as_they_are() -> None:
    value = {"a": {"@x": "1\r\n2\t", "b": "1\r\n2\r\t3\n"}}
    assert documents.from_xml(documents.to_xml(value)) == value


def _deep() -> Any:
    value: Any = "x"
    for _ in range(300):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1], "one member, the root element"),
        ({"a": 1, "b": 2}, "one member, the root element"),
        ({"a": [1, 2]}, "one root element, found 2"),
        ({"a b": 1}, "cannot be written as XML"),
        ({"a": {"@x": {}}}, "expected a plain value"),
        (_deep(), "more than 200 levels"),
    ],
)
def test_what_is_no_document_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        documents.to_xml(value)


def test_csv_is_read_and_written() -> None:
    assert documents.from_csv('id,name\r\n1,"a,b"\r\n\r\n2,c\r\n') == [
        {"id": "1", "name": "a,b"},
        {"id": "2", "name": "c"},
    ]
    assert documents.from_csv("") == []
    assert documents.from_csv("\ufeffid\n1") == [{"id": "1"}]
    assert documents.to_csv([{"a": 1, "b": None}, {"b": "x,y", "c": True}]) == 'a,b,c\r\n1,,\r\n,"x,y",true\r\n'
    assert documents.to_csv([{"a": False}]) == "a\r\nfalse\r\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\n1\n", "row 2 of the CSV: found 1 fields; expected 2"),
        ('a\n"x', "line 2 of the CSV"),
        ("a,b,a\n1,2,3\n", "column 'a' of the CSV twice"),
    ],
)
def test_bad_csv_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        documents.from_csv(text)


@pytest.mark.parametrize("value", [{"a": 1}, [1], [{"a": []}]])
def test_what_is_no_table_is_refused(value: Any) -> None:
    with pytest.raises(Malformed, match="expected"):
        documents.to_csv(value)


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@given(st.lists(st.fixed_dictionaries({"a": CELL, "b": CELL}), max_size=5))
def test_a_table_comes_back(rows: list[dict[str, str]]) -> None:
    assert documents.from_csv(documents.to_csv(rows)) == rows
