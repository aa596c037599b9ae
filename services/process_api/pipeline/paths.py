"""Paths into an event, as `set`, `drop` and `rename` use them: `data.customer.name`, `subject`.

The first name is an attribute; below `data`, each further name is a member of an object. A name with other characters
than letters, digits, `_` and `-` stands in backquotes, as in JSONata: data.`first name`.
"""

import re
from dataclasses import dataclass

from services.process_api.pipeline.draft import Draft
from shared.errors import Malformed
from shared.events.attributes import NAME_PATTERN, check_attribute
from shared.expression.nodes import Members, Node, Raw, child, expanded, text

_NAME = r"(?:`[^`]+`|[\w-]+)"
_PATH = re.compile(rf"{_NAME}(?:\.{_NAME})*")
_NAMES = re.compile(_NAME)
_ATTRIBUTE = re.compile(NAME_PATTERN)
_OF_A_MEMBER = 2
"""How many names lead to a member of the entity: below `data`, there is nothing else."""

_FIXED = {
    "id": "it identifies the event",
    "source": "it names the origin of the event",
    "specversion": "it is always 1.0",
    "data_base64": "it holds bytes, which have no members; a map can replace them by JSON",
    "channel": "a route step or the `channel` of the pipeline sets it",
    "cursor": "the experience layer sets it",
}


_MEMBER = r"(`[^`]+`|[^\x00-,./:-@\[-\^`{-\x7f]+)"


def _pattern(*fixed: str) -> str:
    """Return a pattern of ECMA-262 for the paths that do not lead to these attributes."""
    attribute = rf"(?!`?({'|'.join(fixed)})`?$)(`[a-z0-9]{{1,64}}`|[a-z0-9]{{1,64}})"
    return rf"^((data|`data`)(\.{_MEMBER})*|{attribute})$"


PATTERN = _pattern(*_FIXED)
"""Of the paths that `parse` reads."""
ENTITY_PATTERN = rf"^(data|`data`)(\.{_MEMBER})*$"
"""Of the paths into the entity."""
REMOVABLE_PATTERN = _pattern(*_FIXED, "type")
"""Of the paths that `parse_removable` reads."""


@dataclass(frozen=True, slots=True)
class Path:
    """A place in an event; see `parse`."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.names)


def parse(written: str) -> Path:
    """Parse a path to something that may be changed.

    Raises:
        ValueError: names the fault and what is expected.
    """
    if not _PATH.fullmatch(written):
        raise ValueError(
            f"{written[:80]!r} is not a path: expected names with dots between, as in 'data.customer.name'"
        )
    names = tuple(name.strip("`") for name in _NAMES.findall(written))
    first = names[0]
    if first in _FIXED:
        raise ValueError(f"{first!r} cannot be changed: {_FIXED[first]}")
    if first == "data":
        return Path(names)
    if len(names) > 1:
        raise ValueError(f"{written[:80]!r}: only the entity has members; write 'data.{names[-1][:80]}'")
    if not _ATTRIBUTE.fullmatch(first):
        raise ValueError(f"{first[:80]!r} is not an attribute name: expected at most 64 lower-case letters and digits")
    return Path(names)


def parse_removable(written: str) -> Path:
    """Parse a path to something that may be removed.

    Raises:
        ValueError: as for `parse`, or the attribute is required.
    """
    path = parse(written)
    if path.names == ("type",):
        raise ValueError("'type' can be set, but not removed: every event has one")
    return path


def put(draft: Draft, path: Path, value: Node) -> None:
    """Set the value at a path; create the objects that are missing on the way.

    Raises:
        Malformed: something on the way is not an object, or an attribute cannot have this value.
    """
    names = path.names
    if len(names) == _OF_A_MEMBER and type(data := draft.data()) is dict:  # nearly always
        data[names[1]] = value
        draft.mark_data_changed()
        return
    *parents, name = names
    if names == ("data",):
        draft.replace_data(value)
    elif not parents:
        written = text(value)
        check_attribute(name, written)
        draft.set_attribute(name, Raw(written))
    else:
        _parent(draft, path)[name] = value
        draft.mark_data_changed()


def pop(draft: Draft, path: Path) -> Node | None:
    """Remove the value at a path and return it; None where it is absent.

    Raises:
        Malformed: the path leads through an array, so that it may mean several values.
    """
    first, *further = path.names
    if first != "data":
        return draft.pop_attribute(first)
    node = draft.data()
    if not further:
        draft.replace_data(None)
        return node
    for name in further[:-1]:
        node = child(node, name) if isinstance(node, dict) else node
        if isinstance(node, list):
            break
    if isinstance(node, list):
        raise Malformed(f"{path}: the path leads through an array; expected one that means a single value")
    found = node.pop(further[-1], None) if isinstance(node, dict) else None
    if found is not None:
        draft.mark_data_changed()
    return found


def remove(draft: Draft, path: Path) -> None:
    """Remove the value at a path, in every item of the arrays on the way; nothing happens where it is absent.

    The whole entity is all of the content, also where that is not JSON.
    """
    names = path.names
    if len(names) == 1:
        if names == ("data",) and draft.data() is None:
            draft.pop_attribute("data_base64")
        pop(draft, path)
        return
    node = draft.data()
    if len(names) == _OF_A_MEMBER and type(node) is dict:  # nearly always
        removed = node.pop(names[1], None) is not None
    else:
        removed = node is not None and _remove(node, names[1:])
    if removed:
        draft.mark_data_changed()


def _remove(node: Node, names: tuple[str, ...]) -> bool:
    if isinstance(node, list):
        for index, item in enumerate(node):
            node[index] = expanded(item)
        return any([_remove(item, names) for item in node])  # noqa: C419 -- all of them, not up to the first
    if not isinstance(node, dict):
        return False
    if len(names) == 1:
        return node.pop(names[0], None) is not None
    below = child(node, names[0])
    return below is not None and _remove(below, names[1:])


def _parent(draft: Draft, path: Path) -> Members:
    """Return the object that holds the last name of a path into the entity; create what is missing of it."""
    if draft.data() is None:
        if "data_base64" in draft.attributes():
            raise Malformed(f"{path}: the event's data is not JSON (data_base64)")
        draft.replace_data({})
    parent = _object(draft.data(), path, 1)
    for depth, name in enumerate(path.names[1:-1], 2):
        node = child(parent, name)
        if node is None:
            node = parent[name] = {}
        parent = _object(node, path, depth)
    return parent


def _object(node: Node | None, path: Path, depth: int) -> Members:
    if not isinstance(node, dict):
        raise Malformed(f"{path}: {'.'.join(path.names[:depth])!r} is not an object")
    return node
