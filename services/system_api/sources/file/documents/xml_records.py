"""Reads the records of an XML document while it is parsed: the elements at a path. Entities and DTDs are not expanded.

An element becomes a string if it has neither attributes nor elements in it, else an object: attributes as `@name`,
elements by their names, and text beside them as `#text`. Namespaces are left out; elements of one name become an array,
and so do attributes.
"""

import functools
import re
from collections.abc import Collection, Sequence
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from services.system_api.sources.file.documents.records import (
    FoundRecord,
    Records,
    Stream,
    UnreadableDocument,
    encode_values,
)
from shared.errors import Malformed
from shared.events.dead_letter import KEPT_BYTES

_CHUNK = 65_536
_TEXT = "#text"
_TAG = re.compile(r"""<(?:[^"'>]++|"[^"]*"|'[^']*')*+>""")
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);|#)([^;<&]{1,200});")
_DEEPEST = 500
"""Levels of elements in a record: more would be too many for a JSON reader."""

Value = str | dict[str, Any]


def read_xml(
    stream: Stream, path: Sequence[str], limit: int, lists: Collection[str], encoding: str | None = None
) -> Records:
    """Return the records of a document: its elements at `path`, names from the root on.

    Elements named in `lists` are arrays even where there is one of them. `limit` is the maximum size of a record in
    bytes. `encoding` overrides what the document declares.

    Raises (while iterating):
        UnreadableDocument: the document is not well-formed from some place on, declares entities, or has no such path.
    """
    parser = DefusedXMLParser(target=_NoTree(), encoding=encoding)
    target = _Target(parser.parser, tuple(path), limit, frozenset(lists))
    # Directly, and not through the tree builder: that takes twice as long.
    parser.parser.StartElementHandler = target.start
    parser.parser.EndElementHandler = target.end
    parser.parser.CharacterDataHandler = target.data
    # Where a document names a DTD, which is not read, entities that it does not define are no errors of the parser.
    parser.parser.SkippedEntityHandler = target.skipped_entity
    parser.parser.StartDoctypeDeclHandler = target.document_type
    try:
        while data := stream.read(_CHUNK):
            parser.feed(data)
            yield from target.take()
            yield None
        parser.close()
    except ParseError as exc:
        yield from target.take()
        raise UnreadableDocument(f"not well-formed XML: {exc}") from exc
    except DefusedXmlException as exc:
        yield from target.take()
        raise UnreadableDocument(f"found an entity; entities are not expanded: {exc}") from exc
    yield from target.take()
    target.check_path()


class _Element:
    """An element of a record that is open."""

    __slots__ = ("children", "name", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.children: dict[str, Any] = {}
        self.text = ""

    def add(self, name: str, value: Value, *, as_list: bool) -> None:
        before = self.children.get(name)
        if before is None:
            self.children[name] = [value] if as_list else value
        elif isinstance(before, list):
            before.append(value)
        else:
            self.children[name] = [before, value]

    def value(self, *, as_object: bool = False) -> Value:
        text, children = self.text, self.children
        if not children and not as_object:
            return text
        if text and not text.isspace():
            children[_TEXT] = text
        return children


class _NoTree:
    """What the parser would build a tree with."""

    def close(self) -> None:
        """End the document."""


class _Target:
    """Builds records of what the parser finds."""

    def __init__(self, parser: Any, path: tuple[str, ...], limit: int, lists: frozenset[str]) -> None:
        """`parser` knows the current line and byte."""
        self._parser = parser
        self._path = path
        self._limit = limit
        self._lists = lists
        self._matched = 0
        """How many open elements, from the root on, are those of the path."""
        self._best = 0
        self._root = ""
        self._outside = 0
        """How many open elements are beside the path."""
        self._open: list[_Element] = []
        self._size = 0
        self._start = (0, 0)
        self._error: str | None = None
        self._found: list[FoundRecord] = []
        self._has_document_type = False
        self._undefined: str | None = None
        """An entity of the record that is not known."""

    def take(self) -> list[FoundRecord]:
        found, self._found = self._found, []
        return found

    def check_path(self) -> None:
        if self._best < len(self._path) - 1 or not self._best:
            raise UnreadableDocument(f"found no element /{'/'.join(self._path)}; the root element is <{self._root}>")

    def start(self, tag: str, attributes: list[str]) -> None:
        """Take a start tag; `attributes` are names and values in turn."""
        name = _local(tag)
        if self._open:
            self._enter(name, attributes)
            return
        self._root = self._root or name
        if self._outside or self._matched == len(self._path) or name != self._path[self._matched]:
            self._outside += 1
        else:
            self._matched += 1
            self._best = max(self._best, self._matched)
            if self._matched == len(self._path):
                self._start = (self._parser.CurrentLineNumber, self._parser.CurrentByteIndex)
                self._size, self._error, self._undefined = 0, None, None
                self._enter(name, attributes)

    def end(self, _tag: str) -> None:
        if not self._open:
            if self._outside:
                self._outside -= 1
            else:
                self._matched -= 1
            return
        element = self._open.pop()
        if self._open and self._error is None:
            self._open[-1].add(element.name, element.value(), as_list=element.name in self._lists)
        elif not self._open:
            self._matched -= 1
            self._found.append(self._record(element.value(as_object=True)))

    def data(self, text: str) -> None:
        if self._open:
            self._count(len(text))
            if self._error is None:
                self._open[-1].text += text

    def skipped_entity(self, name: str, is_parameter: bool) -> None:  # noqa: FBT001 -- the parser calls it
        """Take a reference to an entity that is not known in a text."""
        if not is_parameter and self._open:
            self._undefined = self._undefined or name

    def document_type(self, *_declared: object) -> None:
        """Take a document type declaration."""
        self._has_document_type = True

    def _check_attributes(self) -> None:
        """Look for entities in the attributes of the start tag: the parser drops those that it does not know."""
        tag: bytes = self._parser.GetInputContext()
        encoding = {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}.get(tag[:2], "latin-1")
        found = _TAG.match(tag.decode(encoding, errors="replace"))
        if found is not None and (entity := _ENTITY.search(found[0])):
            self._undefined = entity[1]

    def _enter(self, name: str, attributes: list[str]) -> None:
        self._count(len(name) + sum(map(len, attributes)))
        if attributes and self._has_document_type and self._undefined is None:
            self._check_attributes()
        if len(self._open) > _DEEPEST:
            self._error = self._error or f"found more than {_DEEPEST} nested elements"
        element = _Element(name)
        if attributes and self._error is None:
            for key, value in zip(attributes[::2], attributes[1::2], strict=True):
                element.add(f"@{_local(key)}", value, as_list=False)
        self._open.append(element)

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._limit:
            self._error = self._error or (
                f"found a record of more than {self._limit} bytes, the limit; the first {KEPT_BYTES} are kept as JSON"
            )

    def _record(self, value: Value) -> FoundRecord:
        line, start = self._start
        place = f"line {line}, bytes {start}-{self._parser.CurrentByteIndex}"
        try:
            data = encode_values(value)
        except Malformed as exc:
            return FoundRecord(b"", place, str(exc), self._size)
        if self._error is None and self._undefined is not None:
            return FoundRecord(
                data, place, f"found the entity &{self._undefined[:80]};, which the document does not define"
            )
        if self._error is not None:
            return FoundRecord(data[:KEPT_BYTES], place, self._error, max(self._size, len(data)))
        return FoundRecord(data, place)


@functools.lru_cache(4096)
def _local(name: str) -> str:
    """Return a name without its namespace."""
    return name.rpartition("}")[2]
