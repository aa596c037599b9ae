"""Turns the body of a response into JSON: JSON itself, lines of it, CSV, or XML. No I/O; use it outside the event loop.

Lines of JSON become a list. A row of CSV becomes an object of its columns, all of them texts; a row with more or
fewer fields than the header, or a header again, becomes a list, which has no `id` and is reported. An XML document
becomes an object of its root element: an element with neither attributes nor children is its text, any other is an
object of its attributes (`@name`), its children, and its text (`#text`). Children of one name become a list.
"""

import csv
import io
from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, assert_never
from xml.etree.ElementTree import Element, ParseError

import msgspec

from services.system_api.sources.encodings import decoded, text_encoding
from services.system_api.sources.http.polling import unreadable
from shared.errors import Malformed
from shared.runtime.extras import extra

Format = Literal["json", "ndjson", "csv", "xml"]

_LINES = {"x-ndjson", "ndjson", "jsonl", "x-jsonl", "jsonlines", "x-jsonlines", "json-lines"}
"""Subtypes of lines of JSON."""

_BOM = "\ufeff"
_FIELD_LIMIT = 256 * 1_048_576
"""Bytes; the size of the response limits a field already."""

_DEPTH = 100
"""Elements inside one another."""

_UTF8 = {None, "utf-8", "utf8"}

_encode = msgspec.json.Encoder().encode


class BodyParser:
    """Parses the bodies of one source."""

    def __init__(self, form: Format | None, delimiter: str, place: str) -> None:
        """`form` is the format, None: that of the `Content-Type`; `place` is the path of the settings.

        Raises:
            SettingsError: the format is XML, and the extra `files` is not installed.
        """
        self._form = form
        self._delimiter = delimiter
        self._place = place
        if form == "xml":
            _xml_parser(place)

    def json(self, body: bytes, content_type: str) -> bytes:
        """Return the content of a body as one line of JSON in UTF-8, where some values may be marked (`unreadable`).

        Raises:
            Malformed: it is empty, or not of the format.
        """
        media_type, charset = media_type_of(content_type)
        form = self._form or format_of(media_type)
        if not body.strip() and form != "ndjson":
            raise Malformed("the body is empty")
        match form:
            case "json":
                return _json(body, charset)
            case "ndjson":
                return _lines(body, charset)
            case "csv":
                return _encode(_rows(_decoded(body, charset), self._delimiter))
            case "xml":
                # The document declares its charset, unless the `Content-Type` does.
                return _encode(_document(body if charset is None else _decoded(body, charset), self._place))
            case _:
                assert_never(form)


def media_type_of(content_type: str) -> tuple[str, str | None]:
    """Return the media type and the charset of a `Content-Type`, in lower case; None where it names no charset."""
    media_type, *parameters = (part.strip() for part in content_type.lower().split(";"))
    named = (part.partition("=")[2].strip(" \"'") for part in parameters if part.startswith("charset"))
    return media_type, next(filter(None, named), None)


def format_of(media_type: str) -> Format:
    """Return the format of a media type; JSON where it does not say."""
    subtype = media_type.partition("/")[2]
    if subtype in {"csv", "tab-separated-values"}:
        return "csv"
    if subtype in _LINES:
        return "ndjson"
    return "xml" if subtype == "xml" or subtype.endswith("+xml") else "json"


def _decoded(body: bytes, charset: str | None) -> str:
    try:
        encoding = text_encoding(charset or "utf-8")
    except Malformed as exc:
        raise Malformed(f"the body has the unknown charset {str(charset)[:40]!r}") from exc
    try:
        return decoded(body, encoding).removeprefix(_BOM)
    except Malformed as exc:
        raise Malformed(f"the body is {exc}") from exc


def _json(body: bytes, charset: str | None) -> bytes:
    try:
        return _compact(_decoded(body, charset))
    except (Malformed, msgspec.DecodeError) as exc:
        try:
            text = unreadable.decoded(body).removeprefix(_BOM) if charset in _UTF8 else _decoded(body, charset)
            return _compact(unreadable.marked(text))
        except (msgspec.DecodeError, UnicodeEncodeError):
            error = f"the body is not JSON: {exc}" if isinstance(exc, msgspec.DecodeError) else str(exc)
            raise Malformed(error) from exc


def _lines(body: bytes, charset: str | None) -> bytes:
    if charset not in _UTF8:
        body = _decoded(body, charset).encode()
    found = []
    for number, line in enumerate(body.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            found.append(_json(line, None))
        except Malformed as exc:
            raise Malformed(f"line {number}: {exc}") from exc
    return b"[" + b",".join(found) + b"]"


def _compact(text: str) -> bytes:
    """Remove spaces and line breaks outside of texts; numbers stay as they are."""
    try:
        return msgspec.json.format(text.encode(), indent=-1)
    except RecursionError as exc:
        raise Malformed("the body is not JSON, or nested too deeply") from exc


def _rows(text: str, delimiter: str) -> list[Any]:
    csv.field_size_limit(_FIELD_LIMIT)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except csv.Error as exc:
        raise Malformed(f"the body is not CSV: {exc}") from exc
    if not rows:
        raise Malformed("the body is CSV without a header")
    header, *records = rows
    if len(set(header)) < len(header):
        raise Malformed(f"the header of the CSV names a column twice: {', '.join(header)[:200]}")
    names = set(header) if len(header) > 1 else None
    return [
        dict(zip(header, row, strict=True)) if len(row) == len(header) and set(row) != names else row for row in records
    ]


def _document(body: bytes | str, place: str) -> dict[str, Any]:
    try:
        root: Element = _xml_parser(place)(body, forbid_dtd=True)
    except (ParseError, ValueError, LookupError) as exc:  # those of defusedxml are ValueErrors
        raise Malformed(f"the body is not XML, or has a DTD, which is not read: {exc}") from exc
    return {root.tag: _element(root, _DEPTH)}


def _xml_parser(place: str) -> Callable[..., Any]:
    with extra("files", f"{place}.format: xml"):
        parse: Callable[..., Any] = import_module("defusedxml.ElementTree").fromstring
    return parse


def _element(element: Element, depth: int) -> Any:
    if not depth:
        raise Malformed(f"the XML of the body is nested more than {_DEPTH} deep")
    children: dict[str, list[Any]] = {}
    for child in element:
        children.setdefault(child.tag, []).append(_element(child, depth - 1))
    attributes = {f"@{name}": value for name, value in element.attrib.items()}
    text = "".join((element.text or "", *(child.tail or "" for child in element))).strip()
    if not attributes and not children:
        return text
    several = {name: values if len(values) > 1 else values[0] for name, values in children.items()}
    return {**attributes, **several, **({"#text": text} if text else {})}
