"""JSON values that are parsed only as deep as a step looks.

The rest stays JSON text, so that numbers and nested values pass unaltered. An expanded value is a dict or a list; its
items are expanded or text in turn.
"""

from typing import TypeAlias, cast

import msgspec

Raw = msgspec.Raw

Node: TypeAlias = Raw | dict[str, "Node"] | list["Node"]
"""A JSON value: its text, or an expanded object or array."""

Members: TypeAlias = dict[str, Node]

_OBJECT, _ARRAY = b"{["

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_items = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode


def text(node: Node) -> bytes:
    """Return a value's JSON text."""
    return bytes(node) if type(node) is Raw else _encode(node)


def expanded(node: Node) -> Node:
    """Expand an object or an array by one level; return anything else as it is."""
    if type(node) is Raw:
        first = memoryview(node)[0]
        if first == _OBJECT:
            return cast("Members", _members(node))
        if first == _ARRAY:
            return cast("list[Node]", _items(node))
    return node


def child(parent: Members, name: str) -> Node | None:
    """Return a member, expanded by one level; None where it is absent."""
    node = parent.get(name)
    if type(node) is Raw:
        node = parent[name] = expanded(node)
    return node
