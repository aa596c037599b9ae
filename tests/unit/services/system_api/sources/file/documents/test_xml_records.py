"""Elements of XML documents as records, and what is refused."""

import io
import json
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.file.documents.records import FoundRecord, UnreadableDocument
from services.system_api.sources.file.documents.xml_records import read_xml
from tests.unit.services.system_api.sources.file.documents.test_json_items import Portions

PATH = ("orders", "order")


def found(
    content: bytes, *, size: int = 1 << 20, limit: int = 1 << 20, path: tuple[str, ...] = PATH, **more: Any
) -> list[FoundRecord]:
    records = read_xml(Portions(content, size), path, limit, **({"lists": ()} | more))
    return [record for record in records if record is not None]


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ("<order/>", {}),
        ("<order>text</order>", {"#text": "text"}),
        ("<order id='1' x:y='2' xmlns:x='u'/>", {"@id": "1", "@y": "2"}),
        ("<order id='1' x:id='2' xmlns:x='u'/>", {"@id": ["1", "2"]}),
        ("<order><a>1</a><b/></order>", {"a": "1", "b": ""}),
        ("<order><a>1</a><a>2</a><a>3</a></order>", {"a": ["1", "2", "3"]}),
        ("<order> <a> 1 </a>\n</order>", {"a": " 1 "}),
        ("<order>x<a/>y</order>", {"a": "", "#text": "xy"}),
        ("<order><a t='1'>v</a><l>1</l></order>", {"a": {"@t": "1", "#text": "v"}, "l": ["1"]}),
        ("<order><a>&lt;&#233;<![CDATA[<b>]]></a><!-- no --><?no no?></order>", {"a": "<é<b>"}),
        ("<order><order><order/></order></order>", {"order": {"order": ""}}),
        ("<x:order xmlns:x='u'><x:a>1</x:a></x:order>", {"a": "1"}),
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_an_element_becomes_an_object(element: str, value: Any, size: int) -> None:
    (record,) = found(f"<orders>{element}</orders>".encode(), size=size, lists=("l",))
    assert json.loads(record.data) == value


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=9)),
    st.integers(1, 30),
)
def test_any_text_survives(texts: list[str], size: int) -> None:
    content = "".join(f"<order><v>{escape(text)}</v></order>" for text in texts)
    records = found(f"<orders>{content}</orders>".encode(), size=size)
    assert [json.loads(record.data)["v"] for record in records] == texts


def test_the_place_is_the_line_and_the_bytes() -> None:
    content = b"<orders>\n<order>1</order>\n <order>2</order></orders>"
    assert [record.place for record in found(content)] == ["line 2, bytes 9-17", "line 3, bytes 27-35"]


def test_only_elements_at_the_path_are_records() -> None:
    content = b"<a><b><c>1</c><x><c>2</c></x></b><c>3</c><b><c>4</c></b></a>"
    assert [json.loads(record.data)["#text"] for record in found(content, path=("a", "b", "c"))] == ["1", "4"]
    assert [json.loads(record.data) for record in found(b"<a><b>1</b></a>", path=("a",))] == [{"b": "1"}]


@pytest.mark.parametrize("content", [b"<orders/>", b"<orders><x><order/></x></orders>"])
def test_a_document_without_records_is_read(content: bytes) -> None:
    assert found(content) == []


BOMB = b'<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;">]><orders><order>&z;</order></orders>'


@pytest.mark.parametrize(
    ("content", "error", "before"),
    [
        (b"", "not well-formed XML: no element found", 0),
        (b"id,name\n", "not well-formed XML: syntax error: line 1, column 0", 0),
        (b"<orders><order/><order>", "not well-formed XML: no element found: line 1, column 23", 1),
        (b"<orders><order/></wrong>", "not well-formed XML: mismatched tag", 1),
        (b"<orders><order/>&nbsp;</orders>", "not well-formed XML: undefined entity", 1),
        (b"<rows><row/></rows>", "found no element /orders/order; the root element is <rows>", 0),
        (BOMB, "found an entity; entities are not expanded", 0),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><orders/>', "entities are not expanded", 0),
        (b'<!DOCTYPE a [<!ENTITY % x SYSTEM "http://x/">%x;]><orders/>', "entities are not expanded", 0),
    ],
)
def test_a_document_that_cannot_be_read_is_an_error_behind_what_can(content: bytes, error: str, before: int) -> None:
    taken: list[FoundRecord | None] = []
    with pytest.raises(UnreadableDocument) as caught:
        taken.extend(read_xml(io.BytesIO(content), PATH, 100, ()))
    assert error in str(caught.value)
    assert len([record for record in taken if record is not None]) == before


DTD = '<!DOCTYPE orders PUBLIC "-//Shop//DTD Orders//EN" "orders.dtd">'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
@pytest.mark.parametrize(
    ("element", "kept"),
    [
        ("<order>x&eacute;y</order>", {"#text": "xy"}),
        ("<order><a>1</a><b>&eacute;</b></order>", {"a": "1", "b": ""}),
        ("<order a='>x&eacute;y'>1</order>", {"@a": ">xy", "#text": "1"}),
        ('<order><a b="1" c="&eacute;"/><d>1</d></order>', {"a": {"@b": "1", "@c": ""}, "d": "1"}),
    ],
)
def test_an_entity_of_a_dtd_elsewhere_makes_its_record_an_error(element: str, kept: Any, encoding: str) -> None:
    """The parser drops such entities without an error, because the DTD might define them."""
    good = "<order a='\u2606a;&amp;&#65;&quot;'>&lt;</order>"
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    content = f"{mark}{DTD}<orders x='&eacute;'>{good}{element}{good}&eacute;</orders>".encode(encoding)
    before, record, behind = found(content, size=7)
    assert record.error == "found the entity &eacute;, which the document does not define"
    assert json.loads(record.data) == kept
    assert before.error is behind.error is None
    assert json.loads(behind.data) == {"@a": '\u2606a;&A"', "#text": "<"}


def test_a_record_above_the_limit_is_an_error_with_its_beginning() -> None:
    large = b"<order><a>1</a>" + b"<v>" + b"x" * 100_000 + b"</v>" * 1 + b"</order>"
    records = found(b"<orders><order>1</order>" + large + b"<order>2</order></orders>", limit=1000)
    assert [record.error is None for record in records] == [True, False, True]
    assert records[1].data.startswith(b'{"a":"1"')
    assert "found a record of more than 1000 bytes, the limit" in (records[1].error or "")
    assert records[1].size > 100_000


def test_a_record_with_too_many_levels_is_an_error() -> None:
    (record,) = found(b"<orders><order>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</order></orders>")
    assert "found more than 500 nested elements" in (record.error or "")
