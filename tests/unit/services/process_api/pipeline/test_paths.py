"""Paths into an event."""

import json
from typing import Any

import pytest

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import parse, parse_removable, pop, put, remove
from shared.errors import Malformed
from shared.events.attributes import check_attribute
from shared.expression.nodes import Raw, text
from tests.unit.services.process_api.making import data_of, draft, without_data


def after(changed: Draft) -> Any:
    return json.loads(changed.encoded(b'"c"'))


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("data", ("data",)),
        ("data.a", ("data", "a")),
        ("data.a_b.c-d.É", ("data", "a_b", "c-d", "É")),
        ("data.`first name`.`a.b`", ("data", "first name", "a.b")),
        ("data.channel", ("data", "channel")),
        ("subject", ("subject",)),
        ("type", ("type",)),
        ("myextension", ("myextension",)),
    ],
)
def test_parsing(written: str, names: tuple[str, ...]) -> None:
    assert parse(written).names == names


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "is not a path"),
        (".", "is not a path"),
        ("data.", "is not a path"),
        ("data..a", "is not a path"),
        ("data a", "is not a path"),
        ("data.items[0]", "is not a path"),
        ("data.*", "is not a path"),
        ("data.``", "is not a path"),
        ("data.`a", "is not a path"),
        ("data`a`", "is not a path"),
        ("customer.name", "write 'data.name'"),
        ("id", "it identifies the event"),
        ("source", "it names the origin of the event"),
        ("specversion", "always 1.0"),
        ("data_base64", "it holds bytes, which have no members"),
        ("channel", "a route"),
        ("Subject", "lower-case letters"),
        ("my-extension", "lower-case letters"),
    ],
)
def test_a_malformed_path_is_refused_with_the_reason(written: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(written)


def test_the_type_cannot_be_removed() -> None:
    assert parse_removable("subject").names == ("subject",)
    with pytest.raises(ValueError, match="every event has one"):
        parse_removable("type")


@pytest.mark.parametrize(
    ("data", "path", "expected"),
    [
        ({"a": 1}, "data.a", {"a": "new"}),
        ({"a": 1}, "data.b", {"a": 1, "b": "new"}),
        ({"a": {"b": 1, "c": 2}}, "data.a.b", {"a": {"b": "new", "c": 2}}),
        ({}, "data.a.b.c", {"a": {"b": {"c": "new"}}}),
        ({"a": 1}, "data", "new"),
    ],
)
def test_setting_a_value(data: Any, path: str, expected: Any) -> None:
    changed = draft(data)
    put(changed, parse(path), Raw(b'"new"'))
    assert after(changed)["data"] == expected


@pytest.mark.parametrize("data", [{"a": 1}, {"a": None}, {"a": [{"b": 1}]}, {"a": "x"}])
def test_a_value_cannot_be_set_below_one_that_is_not_an_object(data: Any) -> None:
    with pytest.raises(Malformed, match=r"data\.a\.b: 'data\.a' is not an object"):
        put(draft(data), parse("data.a.b"), Raw(b"1"))


def test_setting_a_member_creates_the_entity() -> None:
    bare = Draft(without_data())
    put(bare, parse("data.a"), Raw(b"1"))
    assert after(bare)["data"] == {"a": 1}


def test_a_member_of_bytes_cannot_be_set() -> None:
    with pytest.raises(Malformed, match="is not JSON"):
        put(Draft(without_data(data_base64="AAA=")), parse("data.a"), Raw(b"1"))


def test_setting_attributes() -> None:
    changed = draft({})
    for path, value in (("subject", b'"S"'), ("priority", b"5"), ("urgent", b"true"), ("type", b'"t"')):
        put(changed, parse(path), Raw(value))
    found = after(changed)
    assert [found[name] for name in ("subject", "priority", "urgent", "type")] == ["S", 5, True, "t"]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("subject", b"5", "expected text"),
        ("subject", b'""', 'found ""; expected text that is not empty'),
        ("type", b"null", "expected text"),
        ("priority", b"1.5", "expected text, a boolean or an integer"),
        ("priority", b"{}", "expected text, a boolean or an integer"),
        ("priority", b"null", "expected text, a boolean or an integer"),
    ],
)
def test_a_value_that_an_attribute_cannot_have_is_refused(name: str, value: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=f"'{name}'.*{reason}"):
        check_attribute(name, value)


@pytest.mark.parametrize(
    ("data", "path", "expected"),
    [
        ({"a": 1, "b": 2}, "data.a", {"b": 2}),
        ({"a": {"b": 1, "c": 2}}, "data.a.b", {"a": {"c": 2}}),
        ({"a": [{"b": 1, "c": 2}, {"c": 3}, 5]}, "data.a.b", {"a": [{"c": 2}, {"c": 3}, 5]}),
        ({"a": [[{"b": {"c": 1}}], {"b": [{"c": 1}]}]}, "data.a.b.c", {"a": [[{"b": {}}], {"b": [{}]}]}),
        ([{"a": 1}, {"a": 2}], "data.a", [{}, {}]),
        ({"a": None}, "data.a", {}),
    ],
)
def test_removing_reaches_into_arrays(data: Any, path: str, expected: Any) -> None:
    changed = draft(data)
    remove(changed, parse(path))
    assert data_of(changed.encoded(b'"c"')) == expected
    assert changed.changed


@pytest.mark.parametrize("path", ["data.x", "data.a.x", "data.b.x", "data.x.y.z", "nothing"])
def test_removing_an_absent_value_changes_nothing(path: str) -> None:
    changed = draft({"a": {"b": 1}, "b": 5})
    remove(changed, parse(path))
    assert not changed.changed


def test_removing_the_entity_and_attributes() -> None:
    changed = draft({"a": 1}, zone="eu")
    remove(changed, parse("data"))
    remove(changed, parse("zone"))
    assert not {"data", "zone"} & after(changed).keys()


def test_popping_a_value() -> None:
    changed = draft({"a": {"b": [1, 2]}, "c": 1})
    found = pop(changed, parse("data.a.b"))
    assert found is not None
    assert text(found) == b"[1,2]"
    assert after(changed)["data"] == {"a": {}, "c": 1}
    assert pop(changed, parse("data.c.x")) is None
    assert pop(changed, parse("data.x.y")) is None


def test_popping_one_of_many_is_refused() -> None:
    with pytest.raises(Malformed, match="leads through an array"):
        pop(draft({"a": [{"b": 1}]}), parse("data.a.b"))
