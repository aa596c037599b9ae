"""JSON values that are taken apart only as far as somebody looks.

What nobody looks into stays the JSON text that it came as, so that numbers and nested values pass as they were. What
is taken apart is a dict or a list whose values are again either.
"""

from typing import TypeAlias, cast

import msgspec

Raw = msgspec.Raw

Node: TypeAlias = Raw | dict[str, "Node"] | list["Node"]
"""A JSON value: its text, or an object or an array that was taken apart."""

Members: TypeAlias = dict[str, Node]

_OBJECT, _ARRAY = b"{["

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_items = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode


def text(node: Node) -> bytes:
    """Return a value's JSON text."""
    return bytes(node) if type(node) is Raw else _encode(node)


def opened(node: Node) -> Node:
    """Take an object or an array apart by one level; anything else is given back as it is."""
    if type(node) is Raw:
        first = memoryview(node)[0]
        if first == _OBJECT:
            return cast("Members", _members(node))
        if first == _ARRAY:
            return cast("list[Node]", _items(node))
    return node


def child(parent: Members, name: str) -> Node | None:
    """Return a member, taken apart by one level; None where there is none."""
    node = parent.get(name)
    if type(node) is Raw:
        node = parent[name] = opened(node)
    return node
