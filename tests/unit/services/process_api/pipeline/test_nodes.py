"""JSON values that are taken apart only as far as somebody looks."""

import pytest

from services.process_api.pipeline.nodes import Members, Node, Raw, child, opened, text


def test_one_level_is_taken_apart_at_a_time() -> None:
    node = opened(Raw(b'{"a":{"b":1},"c":[2]}'))
    assert isinstance(node, dict)
    assert {name: type(inner) for name, inner in node.items()} == {"a": Raw, "c": Raw}
    items = opened(node["c"])
    assert isinstance(items, list)
    assert [type(item) for item in items] == [Raw]


@pytest.mark.parametrize("written", [b'"text"', b"5", b"-1.50", b"true", b"null", b'"{"'])
def test_what_has_no_parts_stays_as_it_is(written: bytes) -> None:
    node = Raw(written)
    assert opened(node) is node
    assert text(node) == written


def test_what_nobody_looked_into_is_written_as_it_came() -> None:
    value = b'{"a":{ "b" : 1.50 },"c":9007199254740993,"d":[1E2 ,2]}'
    assert text(opened(Raw(value))) == value


def test_what_is_looked_at_once_stays_taken_apart() -> None:
    parent: Members = {"a": Raw(b'{"b":1}'), "c": Raw(b"5")}
    first = child(parent, "a")
    assert child(parent, "a") is first is parent["a"]
    assert child(parent, "c") is parent["c"]
    assert child(parent, "nothing") is None


def test_what_was_taken_apart_can_be_nested() -> None:
    nested: Node = {"a": [Raw(b"1"), {"b": Raw(b"[]")}], "é": {}}
    assert text(nested) == '{"a":[1,{"b":[]}],"é":{}}'.encode()
