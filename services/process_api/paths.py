"""Paths into an event, as `set`, `drop` and `rename` name what they change: `data.customer.name`, `subject`.

The first name is an attribute; below `data`, each further one is a member of an object. A name of other characters
than letters, digits, `_` and `-` stands in backquotes, as in JSONata: data.`first name`.
"""

import re
from dataclasses import dataclass

import msgspec

from services.process_api.draft import Draft
from services.process_api.nodes import Members, Node, Raw, child, opened, text
from shared.errors import Malformed

_NAME = r"(?:`[^`]+`|[\w-]+)"
_PATH = re.compile(rf"{_NAME}(?:\.{_NAME})*")
_NAMES = re.compile(_NAME)
_ATTRIBUTE = re.compile(r"[a-z0-9]{1,64}")

_FIXED = {
    "id": "it says which event this is",
    "source": "it says where the event is from",
    "specversion": "it is always 1.0",
    "data_base64": "bytes have no members; a map can put JSON in their place",
    "channel": "a route or the pipeline's own `channel` decides on it",
    "cursor": "the experience layer gives each event one",
}
_TEXTS = frozenset({"type", "subject", "time", "datacontenttype", "dataschema"})

_scalar = msgspec.json.Decoder(str | int | bool).decode


def _pattern(*fixed: str) -> str:
    """Return what a JSON Schema can say of a path to anything but these attributes, by ECMA-262."""
    member = r"(`[^`]+`|[^\x00-,./:-@\[-\^`{-\x7f]+)"
    attribute = rf"(?!`?({'|'.join(fixed)})`?$)(`[a-z0-9]{{1,64}}`|[a-z0-9]{{1,64}})"
    return rf"^((data|`data`)(\.{member})*|{attribute})$"


PATTERN = _pattern(*_FIXED)
"""Of the paths that `parse` reads."""
REMOVABLE_PATTERN = _pattern(*_FIXED, "type")
"""Of the paths that `parse_removable` reads."""


@dataclass(frozen=True, slots=True)
class Path:
    """A place in an event; see `parse`."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.names)


def parse(written: str) -> Path:
    """Read a path to something that may be changed.

    Raises:
        ValueError: says what is wrong, and what would be right.
    """
    if not _PATH.fullmatch(written):
        raise ValueError(f"{written[:80]!r} is no path: expected names with dots between, such as 'data.customer.name'")
    names = tuple(name.strip("`") for name in _NAMES.findall(written))
    first = names[0]
    if first in _FIXED:
        raise ValueError(f"{first!r} cannot be changed: {_FIXED[first]}")
    if first == "data":
        return Path(names)
    if len(names) > 1:
        raise ValueError(f"{written[:80]!r}: only the entity has members, and they are written 'data.{names[-1][:80]}'")
    if not _ATTRIBUTE.fullmatch(first):
        raise ValueError(f"{first[:80]!r} is no attribute's name: expected lower-case letters and digits, at most 64")
    return Path(names)


def parse_removable(written: str) -> Path:
    """Read a path to something that may be taken away.

    Raises:
        ValueError: as `parse` does, or no event can be without it.
    """
    path = parse(written)
    if path.names == ("type",):
        raise ValueError("'type' can be set and not taken away: no event is without")
    return path


def check_attribute(name: str, value: bytes) -> None:
    """Check the value that an attribute is to have.

    Raises:
        Malformed: it is no text, integer or boolean; or no text where CloudEvents wants one, or empty.
    """
    try:
        found = _scalar(value)
    except msgspec.DecodeError:
        found = None
    if found is None or (name in _TEXTS and not isinstance(found, str)):
        wanted = "text" if name in _TEXTS else "text, an integer or a boolean"
        raise Malformed(f"attribute {name!r} would become {value[:80].decode(errors='replace')}, expected {wanted}")
    if name in _TEXTS and not found:
        raise Malformed(f"attribute {name!r} would become empty")


def put(draft: Draft, path: Path, value: Node) -> None:
    """Set what lies at a path, making the objects on the way to it.

    Raises:
        Malformed: something on the way is there and no object, or an attribute cannot have this value.
    """
    *on_the_way, name = path.names
    if path.names == ("data",):
        draft.replace_data(value)
    elif not on_the_way:
        written = text(value)
        check_attribute(name, written)
        draft.set_attribute(name, Raw(written))
    else:
        _parent(draft, path)[name] = value
        draft.touch_data()


def take(draft: Draft, path: Path) -> Node | None:
    """Remove what lies at a path and return it; None where there is nothing.

    Raises:
        Malformed: an array is on the way, so that there may be several.
    """
    first, *further = path.names
    if first != "data":
        return draft.take_attribute(first)
    node = draft.data()
    if not further:
        draft.replace_data(None)
        return node
    for name in further[:-1]:
        node = child(node, name) if isinstance(node, dict) else node
        if isinstance(node, list):
            break
    if isinstance(node, list):
        raise Malformed(f"{path}: an array is on the way, and which of its items is meant is not said")
    found = node.pop(further[-1], None) if isinstance(node, dict) else None
    if found is not None:
        draft.touch_data()
    return found


def remove(draft: Draft, path: Path) -> None:
    """Remove what lies at a path, in every item of the arrays on the way to it; nothing there is well, too."""
    if len(path.names) == 1:
        take(draft, path)
        return
    node = draft.data()
    if node is not None and _remove(node, path.names[1:]):
        draft.touch_data()


def _remove(node: Node, names: tuple[str, ...]) -> bool:
    if isinstance(node, list):
        for index, item in enumerate(node):
            node[index] = opened(item)
        return any([_remove(item, names) for item in node])  # noqa: C419 -- all of them, not up to the first
    if not isinstance(node, dict):
        return False
    if len(names) == 1:
        return node.pop(names[0], None) is not None
    below = child(node, names[0])
    return below is not None and _remove(below, names[1:])


def _parent(draft: Draft, path: Path) -> Members:
    """Return the object that is to hold the last name of a path into the entity; what is missing of it is made."""
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
        raise Malformed(f"{path}: {'.'.join(path.names[:depth])!r} is no object")
    return node
