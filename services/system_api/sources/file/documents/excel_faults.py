"""Cells of a workbook (.xlsx, .xlsm) that have no value although they are not empty, which the reader does not tell.

They are errors, such as `#N/A`, and formulas whose value the program that wrote the workbook has not stored.

Source: ECMA-376 part 1, 18.3.1.4 (cells) and 12.3.23 (workbook part).
"""

import posixpath
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, fromstring

from services.system_api.sources.file.documents.archive import opened_archive
from services.system_api.sources.file.documents.records import UnreadableDocument

_CHUNK = 262_144
_CANDIDATE = re.compile(rb"""\st\s*=\s*["']e["']|<(?:[\w.-]+:)?f[\s>/]""")
_OVERLAP = 64
"""Bytes in which a candidate has its place."""
_REFERENCE = re.compile(r"([A-Z]{1,3})[0-9]+")
_LETTERS = 26
_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_STRICT_ID = "{http://purl.oclc.org/ooxml/officeDocument/relationships}id"

Faults = Mapping[int, Mapping[int, str]]
"""What is wrong with cells: by row, from 1, and column, from 0."""


def faults_of(file: BinaryIO, sheet: str) -> Faults:
    """Return the faults of a sheet of a ZIP archive; none if it is a workbook of another kind.

    Raises:
        UnreadableDocument: the archive is broken.
        OSError: it cannot be read now.
    """
    with opened_archive(file) as archive:
        try:
            part = _part(archive, sheet)
            if part is None or not any(_may_have_faults(archive, part)):
                return {}
            return _read(archive, part)
        except OSError:
            raise
        except (ParseError, DefusedXmlException, zipfile.BadZipFile, EOFError, ValueError, KeyError) as exc:
            raise UnreadableDocument(f"not a workbook that can be read: {exc}") from exc


def _part(archive: zipfile.ZipFile, sheet: str) -> str | None:
    """Return the name of the part that holds a sheet."""
    names = set(archive.namelist())
    book = next((_target("", each) for each in _relations(archive, "", names) if _is(each, "officeDocument")), None)
    if book not in names or not str(book).endswith(".xml"):
        return None
    parts = {each.get("Id"): _target(str(book), each) for each in _relations(archive, str(book), names)}
    for each in fromstring(archive.read(str(book))).iter():
        if _local(each.tag) == "sheet" and each.get("name") == sheet:
            found = parts.get(each.get(_ID) or each.get(_STRICT_ID))
            return found if found in names else None
    return None


def _relations(archive: zipfile.ZipFile, part: str, names: set[str]) -> list[Any]:
    folder, name = posixpath.split(part)
    relations = posixpath.join(folder, "_rels", f"{name}.rels")
    return list(fromstring(archive.read(relations))) if relations in names else []


def _is(relation: Any, kind: str) -> bool:
    return str(relation.get("Type", "")).endswith(f"/{kind}")


def _target(part: str, relation: Any) -> str:
    """Return the name of the part that a relation of another part leads to."""
    target = posixpath.join("/", posixpath.dirname(part), relation.get("Target", ""))
    return posixpath.normpath(target).lstrip("/")


def _may_have_faults(archive: zipfile.ZipFile, part: str) -> Iterator[bool]:
    """Yield whether a piece of a part has an error or a formula: to parse all takes ten times as long."""
    before = b""
    for data in _pieces(archive, part):
        yield _CANDIDATE.search(before + data) is not None
        before = data[-_OVERLAP:]


def _pieces(archive: zipfile.ZipFile, part: str) -> Iterator[bytes]:
    with archive.open(part) as content:
        while data := content.read(_CHUNK):
            yield data


def _read(archive: zipfile.ZipFile, part: str) -> Faults:
    parser = DefusedXMLParser(target=_NoTree())
    cells = _Cells()
    parser.parser.StartElementHandler = cells.start
    parser.parser.EndElementHandler = cells.end
    parser.parser.CharacterDataHandler = cells.data
    for data in _pieces(archive, part):
        parser.feed(data)
    parser.close()
    return cells.faults


class _NoTree:
    """What the parser would build a tree with."""

    def close(self) -> None:
        """End the document."""


class _Cells:
    """Takes the cells of a sheet, in order."""

    def __init__(self) -> None:
        self.faults: dict[int, dict[int, str]] = {}
        self._row = 0
        self._column = -1
        self._type = ""
        self._has_formula = self._has_value = self._in_value = False
        self._value = ""

    def start(self, tag: str, attributes: list[str]) -> None:
        """Take a start tag; `attributes` are names and values in turn."""
        name = _local(tag)
        if name == "row":
            written = _value_of(attributes, "r")
            self._row, self._column = int(written) if written else self._row + 1, -1
        elif name == "c":
            found = _REFERENCE.match(_value_of(attributes, "r"))
            self._column = self._column + 1 if found is None else _index(found[1])
            self._type, self._value = _value_of(attributes, "t"), ""
            self._has_formula = self._has_value = False
        elif name == "f":
            self._has_formula = True
        elif name in {"v", "is"}:
            self._has_value = self._in_value = True

    def end(self, tag: str) -> None:
        """Take an end tag."""
        name = _local(tag)
        if name in {"v", "is"}:
            self._in_value = False
        elif name == "c" and self._type == "e":
            self._add(f"found the error {self._value[:80] or 'without a name'}")
        elif name == "c" and self._has_formula and not self._has_value:
            self._add("found a formula whose value is not in the workbook: open it in Excel, and save it")

    def data(self, text: str) -> None:
        """Take text."""
        if self._in_value and self._type == "e":
            self._value += text

    def _add(self, fault: str) -> None:
        self.faults.setdefault(self._row, {})[self._column] = fault


def _value_of(attributes: list[str], name: str) -> str:
    return dict(zip(attributes[::2], attributes[1::2], strict=True)).get(name, "")


def _index(letters: str) -> int:
    """Return the number of a column: 0 for A, 26 for AA."""
    index = 0
    for letter in letters:
        index = index * _LETTERS + ord(letter) - ord("A") + 1
    return index - 1


def _local(name: str) -> str:
    """Return a name without its namespace."""
    return name.rpartition("}")[2]
