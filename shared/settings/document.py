"""YAML text to plain values, with the place of every key: strictly by the core schema of YAML 1.2.

PyYAML implements YAML 1.1, which reads `no` as false, `010` as eight and `1:30` as ninety. In a settings file none of
these is intended. So PyYAML only parses, and this module makes the values from its nodes.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from shared.errors import SettingsError

KeyPath = tuple[str | int, ...]
"""The path of a value: keys and list indexes from the top."""

_NODE_LIMIT = 100_000
"""Values in one document, so that aliases of aliases of aliases do not fill the memory."""

_DEPTH_LIMIT = 100
"""Nesting of lists and mappings, so that a deep document is a fault and not a stack overflow."""
_TOO_DEEP = f"nested more than {_DEPTH_LIMIT} deep"

_ADVICE = (
    ("while scanning an alias", "write a value that begins with '*' in quotes"),
    ("mapping values are not allowed here", "write a value that contains ': ' in quotes"),
    ("found unknown escape character", "write the value in single quotes, which keep backslashes"),
    ("found character '\\t' that cannot start any token", "indent with spaces"),
    ("that cannot start any token", "write a value that begins with it in quotes"),
)
"""What to do where PyYAML tells only what it scans: texts of its errors, the first of which decides."""

_TAG = "tag:yaml.org,2002:"


class Place(NamedTuple):
    """A place in the text, counted from 1."""

    line: int
    column: int


class Fault(NamedTuple):
    """One thing that is wrong."""

    path: KeyPath
    place: Place
    sentence: str


@dataclass(slots=True)
class Document:
    """The content of a file."""

    value: Any = None
    places: dict[KeyPath, Place] = field(default_factory=dict)
    """Of each key and each list item."""
    faults: list[Fault] = field(default_factory=list)
    """Faults of the YAML itself that did not stop the reading."""

    def place(self, path: KeyPath) -> Place:
        """Return the place of a key, or of the nearest key above it that is in the file."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))


class _Resolver(yaml.resolver.BaseResolver):
    """Finds the tag of an unquoted scalar."""


for _name, _form, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Resolver.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"(?:{_form})\\Z"), _first)


class _Loader(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, yaml.composer.Composer, _Resolver):
    def __init__(self, text: str) -> None:
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
        yaml.composer.Composer.__init__(self)
        _Resolver.__init__(self)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Make the next node, unless it is nested too deeply."""
        self._depth += 1
        if self._depth > _DEPTH_LIMIT:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call] # not in PyYAML's stubs
            raise SettingsError(f"{mark.line + 1}:{mark.column + 1}: {_TOO_DEEP}")
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _whole(text: str) -> int:
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _real(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: dict[str, Callable[[str], Any]] = {
    f"{_TAG}null": lambda _text: None,
    f"{_TAG}bool": lambda text: text.lower() == "true",
    f"{_TAG}int": _whole,
    f"{_TAG}float": _real,
    f"{_TAG}str": str,
}


def read(text: str) -> Document:
    """Parse one YAML document; an empty one holds None.

    Raises:
        SettingsError: a fault that stops the reading, as `line:column: sentence`.
    """
    document = Document()
    try:
        node = _Loader(text).get_single_node()
        if node is not None:
            document.value = _Builder(document).build((), node)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)
        problem = " ".join(str(part) for part in (exc.context, exc.problem) if part)
        problem += next((f"; {advice}" for found, advice in _ADVICE if found in problem), "")
        raise SettingsError(f"{place.line}:{place.column}: not YAML: {problem}") from exc
    except yaml.reader.ReaderError as exc:
        before = text[: exc.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise SettingsError(f"{line}:{column}: not YAML: a character that may not occur in text") from exc
    return document


class _Builder:
    """Makes the values of one document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._left = _NODE_LIMIT
        self._open: set[int] = set()

    def build(self, path: KeyPath, node: yaml.Node) -> Any:
        self._left -= 1
        if self._left < 0:
            raise SettingsError(f"{node.start_mark.line + 1}:1: more than {_NODE_LIMIT} values, aliases counted")
        if len(self._open) >= _DEPTH_LIMIT:
            raise SettingsError(f"{node.start_mark.line + 1}:1: {_TOO_DEEP}, aliases counted")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(path, node)
        if id(node) in self._open:
            self._fault(path, node, "the alias contains itself")
            return None
        self._open.add(id(node))
        try:
            return self._mapping(path, node) if isinstance(node, yaml.MappingNode) else self._list(path, node)
        finally:
            self._open.discard(id(node))

    def _scalar(self, path: KeyPath, node: yaml.ScalarNode) -> Any:
        make = _SCALARS.get(node.tag)
        if make is None:
            self._fault(path, node, f"the tag {node.tag!r} is not supported")
            return None
        try:
            return make(node.value)
        except ValueError:
            self._fault(path, node, f"{node.value[:40]!r} is not of the type {node.tag.removeprefix(_TAG)!r}")
            return None

    def _list(self, path: KeyPath, node: yaml.Node) -> list[Any]:
        if node.tag != f"{_TAG}seq":
            self._fault(path, node, f"the tag {node.tag!r} is not supported")
        items = []
        for index, item in enumerate(node.value):
            self._note((*path, index), item)
            items.append(self.build((*path, index), item))
        return items

    def _mapping(self, path: KeyPath, node: yaml.MappingNode) -> dict[str, Any]:
        if node.tag != f"{_TAG}map":
            self._fault(path, node, f"the tag {node.tag!r} is not supported")
        values: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._fault(path, key, "a key is text")
            elif key.value == "<<" and key.style is None:
                self._fault(
                    path, key, "merge keys (<<) are not supported; give an alias as a value, e.g. 'retry: *patient'"
                )
            elif key.value in values:
                first = self._document.places[(*path, key.value)]
                self._fault((*path, key.value), key, f"key {key.value!r} is already given on line {first.line}")
            else:
                self._note((*path, key.value), key)
                values[key.value] = self.build((*path, key.value), value)
        return values

    def _note(self, path: KeyPath, node: yaml.Node) -> None:
        self._document.places.setdefault(path, _place(node))

    def _fault(self, path: KeyPath, node: yaml.Node, sentence: str) -> None:
        self._document.faults.append(Fault(path, _place(node), sentence))


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)
