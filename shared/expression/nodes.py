"""JSON values that are parsed only as deep as a step looks.

The rest stays JSON text, so that numbers and nested values pass unaltered. An expanded value is a dict or a list; its
items are expanded or text in turn.
"""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

Raw = msgspec.Raw

Node: TypeAlias = Raw | dict[str, "Node"] | list["Node"]
"""A JSON value: its text, or an expanded object or array."""

Members: TypeAlias = dict[str, Node]

_OBJECT, _ARRAY = b"{["

# A dict of text is a dict of values; a type checker cannot know that nothing else is put into it.
_members: Callable[[Raw | bytes], Node] = msgspec.json.Decoder(dict[str, Raw]).decode  # type: ignore[assignment]
_items: Callable[[Raw | bytes], Node] = msgspec.json.Decoder(list[Raw]).decode  # type: ignore[assignment]
_encode = msgspec.json.Encoder().encode


def text(node: Node) -> bytes:
    """Return a value's JSON text."""
    return bytes(node) if type(node) is Raw else _encode(node)


def expanded(node: Node) -> Node:
    """Expand an object or an array by one level; return anything else as it is."""
    if type(node) is Raw:
        first = memoryview(node)[0]
        if first == _OBJECT:
            return _members(node)
        if first == _ARRAY:
            return _items(node)
    return node


def parsed(written: bytes) -> Node:
    """Return a value of this JSON text, expanded by one level."""
    return _members(written) if written[0] == _OBJECT else expanded(Raw(written))


def child(parent: Members, name: str) -> Node | None:
    """Return a member, expanded by one level; None where it is absent."""
    node = parent.get(name)
    if type(node) is Raw:
        node = parent[name] = expanded(node)
    return node
