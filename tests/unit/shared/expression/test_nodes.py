"""JSON values that are parsed only as deep as needed."""

import pytest

from shared.expression.nodes import Members, Node, Raw, child, expanded, text


def test_one_level_is_expanded_at_a_time() -> None:
    node = expanded(Raw(b'{"a":{"b":1},"c":[2]}'))
    assert isinstance(node, dict)
    assert {name: type(inner) for name, inner in node.items()} == {"a": Raw, "c": Raw}
    items = expanded(node["c"])
    assert isinstance(items, list)
    assert [type(item) for item in items] == [Raw]


@pytest.mark.parametrize("written", [b'"text"', b"5", b"-1.50", b"true", b"null", b'"{"'])
def test_a_scalar_stays_as_it_is(written: bytes) -> None:
    node = Raw(written)
    assert expanded(node) is node
    assert text(node) == written


def test_text_that_was_not_expanded_is_written_unaltered() -> None:
    value = b'{"a":{ "b" : 1.50 },"c":9007199254740993,"d":[1E2 ,2]}'
    assert text(expanded(Raw(value))) == value


def test_an_expanded_member_stays_expanded() -> None:
    parent: Members = {"a": Raw(b'{"b":1}'), "c": Raw(b"5")}
    first = child(parent, "a")
    assert child(parent, "a") is first is parent["a"]
    assert child(parent, "c") is parent["c"]
    assert child(parent, "nothing") is None


def test_expanded_values_can_be_nested() -> None:
    nested: Node = {"a": [Raw(b"1"), {"b": Raw(b"[]")}], "é": {}}
    assert text(nested) == '{"a":[1,{"b":[]}],"é":{}}'.encode()


def test_an_expanded_value_is_returned_as_it_is() -> None:
    members: Members = {"a": Raw(b"1")}
    assert expanded(members) is members
