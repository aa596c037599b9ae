"""XML and CSV text to JSON values, and back. Sans-I/O.

An element of XML becomes text if it has neither attributes nor elements, else an object: attributes as `@name`,
elements by their names, text beside them as `#text`. Elements of one name become an array. Entities are not expanded.
"""

import csv
import io
import re
from typing import Any
from xml.etree import ElementTree as ET

from shared.errors import Malformed
from shared.runtime.extras import extra

_DEEPEST = 200
_TEXT = "#text"
_BYTE_ORDER_MARK = "\ufeff"
_TAG = re.compile(r"""<[^!?](?:[^"'>]++|"[^"]*"|'[^']*')*+>""")
_NO_MARKUP = re.compile(r"<!\[CDATA\[.*?\]\]>|<!--.*?-->", re.DOTALL)
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);|#)([^;<&]{1,200});")


def from_xml(text: str) -> dict[str, Any]:
    """Return the document as an object with the root element as its only member.

    Raises:
        Malformed: it is not well-formed, declares entities, or is too deep.
    """
    with extra("files", "convert: {from: xml}"):
        from defusedxml import DefusedXmlException  # noqa: PLC0415 -- of an extra
        from defusedxml.ElementTree import fromstring  # noqa: PLC0415

    try:
        root = fromstring(text)
    except DefusedXmlException as exc:
        raise Malformed(f"the XML declares entities, which are not expanded: {exc}") from exc
    except (ET.ParseError, ValueError) as exc:
        raise Malformed(f"not well-formed XML: {exc}") from exc
    if "<!DOCTYPE" in text and (entity := _entity_in_attributes(text)) is not None:
        raise Malformed(f"the XML has the entity &{entity[:80]};, which it does not define")
    return {_name(root.tag): _value(root, 0)}


def to_xml(value: Any) -> str:
    """Return an object with one member as a document.

    Raises:
        Malformed: it is something else, or a name is no name of an element.
    """
    if not isinstance(value, dict) or len(value) != 1:
        raise Malformed("expected an object with one member, the root element")
    ((name, content),) = value.items()
    try:
        elements = _elements(name, content, 0)
        if len(elements) != 1:
            raise Malformed(f"expected one root element, found {len(elements)}")
        # A parser reads "\r" as "\n"; in attributes, it is written like this already.
        written = ET.tostring(elements[0], encoding="unicode").replace("\r", "&#13;")
        ET.fromstring(written)  # noqa: S314 -- our own text: names are not checked when it is written
    except (ET.ParseError, TypeError, ValueError) as exc:
        raise Malformed(f"cannot be written as XML: {exc}") from exc
    return written


def from_csv(text: str) -> list[dict[str, str]]:
    """Return the lines below the header as objects.

    Raises:
        Malformed: a line has another number of fields than the header, or the header names a column twice.
    """
    reader = csv.reader(io.StringIO(text.removeprefix(_BYTE_ORDER_MARK), newline=""), strict=True)
    try:
        rows = [row for row in reader if row]
    except csv.Error as exc:
        raise Malformed(f"line {reader.line_num} of the CSV: {exc}") from exc
    if not rows:
        return []
    header, *lines = rows
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise Malformed(f"found column {twice[0]!r} of the CSV twice; expected distinct names")
    for number, row in enumerate(lines, 2):
        if len(row) != len(header):
            raise Malformed(f"row {number} of the CSV: found {len(row)} fields; expected {len(header)}")
    return [dict(zip(header, row, strict=True)) for row in lines]


def to_csv(value: Any) -> str:
    """Return an array of objects as text, with a header of all their members.

    Raises:
        Malformed: it is something else, or a member holds an array or an object.
    """
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise Malformed("expected an array of objects")
    names = list(dict.fromkeys(name for row in value for name in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")  # RFC 4180; with another end of line, "\r" is not quoted
    writer.writerow(names)
    for row in value:
        writer.writerow([_field(name, row.get(name)) for name in names])
    return out.getvalue()


def _field(name: str, value: Any) -> str:
    if isinstance(value, dict | list):
        raise Malformed(f"member {name!r} is an array or an object; expected a plain value")
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _entity_in_attributes(text: str) -> str | None:
    """Return an entity in an attribute. A DTD elsewhere may define it, so the parser drops it without an error."""
    found = (_ENTITY.search(tag[0]) for tag in _TAG.finditer(_NO_MARKUP.sub("", text)))
    return next((each[1] for each in found if each is not None), None)


def _name(tag: str) -> str:
    return tag.rpartition("}")[2]


def _value(element: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise Malformed(f"the XML has more than {_DEEPEST} levels")
    found: dict[str, Any] = {f"@{_name(name)}": value for name, value in element.attrib.items()}
    if len(found) < len(element.attrib):
        raise Malformed(
            f"two attributes of <{_name(element.tag)}> differ in their namespace alone; expected other names"
        )
    text = (element.text or "").strip() + "".join((each.tail or "").strip() for each in element)
    for each in element:
        name, value = _name(each.tag), _value(each, depth + 1)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    if not found:
        return element.text or ""
    return {**found, _TEXT: text} if text else found


def _elements(name: str, content: Any, depth: int) -> list[ET.Element]:
    if depth > _DEEPEST:
        raise Malformed(f"the value has more than {_DEEPEST} levels")
    if isinstance(content, list):
        return [made for item in content for made in _elements(name, item, depth + 1)]
    made = ET.Element(name)
    if not isinstance(content, dict):
        made.text = _field(name, content)
        return [made]
    for member, value in content.items():
        if member == _TEXT:
            made.text = _field(member, value)
        elif member.startswith("@"):
            made.set(member[1:], _field(member, value))
        else:
            made.extend(_elements(member, value, depth + 1))
    return [made]
