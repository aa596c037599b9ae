"""Paths into an event."""

import json
from typing import Any

import pytest

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.nodes import Raw, text
from services.process_api.pipeline.paths import check_attribute, parse, parse_removable, put, remove, take
from shared.errors import Malformed
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
def test_reading(written: str, names: tuple[str, ...]) -> None:
    assert parse(written).names == names


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "is no path"),
        (".", "is no path"),
        ("data.", "is no path"),
        ("data..a", "is no path"),
        ("data a", "is no path"),
        ("data.items[0]", "is no path"),
        ("data.*", "is no path"),
        ("data.``", "is no path"),
        ("data.`a", "is no path"),
        ("data`a`", "is no path"),
        ("customer.name", "written 'data.name'"),
        ("id", "says which event this is"),
        ("source", "says where the event is from"),
        ("specversion", "always 1.0"),
        ("data_base64", "bytes have no members"),
        ("channel", "a route"),
        ("Subject", "lower-case letters"),
        ("my-extension", "lower-case letters"),
    ],
)
def test_what_is_no_path_says_why(written: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(written)


def test_no_event_is_without_a_type() -> None:
    assert parse_removable("subject").names == ("subject",)
    with pytest.raises(ValueError, match="no event is without"):
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
def test_putting(data: Any, path: str, expected: Any) -> None:
    changed = draft(data)
    put(changed, parse(path), Raw(b'"new"'))
    assert after(changed)["data"] == expected


@pytest.mark.parametrize("data", [{"a": 1}, {"a": None}, {"a": [{"b": 1}]}, {"a": "x"}])
def test_nothing_is_put_into_what_is_no_object(data: Any) -> None:
    with pytest.raises(Malformed, match=r"data\.a\.b: 'data\.a' is no object"):
        put(draft(data), parse("data.a.b"), Raw(b"1"))


def test_an_event_without_an_entity_is_given_one() -> None:
    bare = Draft(without_data())
    put(bare, parse("data.a"), Raw(b"1"))
    assert after(bare)["data"] == {"a": 1}


def test_nothing_is_put_into_bytes() -> None:
    with pytest.raises(Malformed, match="is not JSON"):
        put(Draft(without_data(data_base64="AAA=")), parse("data.a"), Raw(b"1"))


def test_attributes() -> None:
    changed = draft({})
    for path, value in (("subject", b'"S"'), ("priority", b"5"), ("urgent", b"true"), ("type", b'"t"')):
        put(changed, parse(path), Raw(value))
    found = after(changed)
    assert [found[name] for name in ("subject", "priority", "urgent", "type")] == ["S", 5, True, "t"]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("subject", b"5", "expected text"),
        ("subject", b'""', "would become empty"),
        ("type", b"null", "expected text"),
        ("priority", b"1.5", "expected text, an integer or a boolean"),
        ("priority", b"{}", "expected text, an integer or a boolean"),
        ("priority", b"null", "expected text, an integer or a boolean"),
    ],
)
def test_an_attribute_has_not_any_value(name: str, value: bytes, reason: str) -> None:
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
def test_removing_what_is_not_there_changes_nothing(path: str) -> None:
    changed = draft({"a": {"b": 1}, "b": 5})
    remove(changed, parse(path))
    assert not changed.changed


def test_removing_the_entity_and_attributes() -> None:
    changed = draft({"a": 1}, zone="eu")
    remove(changed, parse("data"))
    remove(changed, parse("zone"))
    assert not {"data", "zone"} & after(changed).keys()


def test_taking() -> None:
    changed = draft({"a": {"b": [1, 2]}, "c": 1})
    found = take(changed, parse("data.a.b"))
    assert found is not None
    assert text(found) == b"[1,2]"
    assert after(changed)["data"] == {"a": {}, "c": 1}
    assert take(changed, parse("data.c.x")) is None
    assert take(changed, parse("data.x.y")) is None


def test_taking_one_of_many_says_that_it_cannot_know_which() -> None:
    with pytest.raises(Malformed, match="an array is on the way"):
        take(draft({"a": [{"b": 1}]}), parse("data.a.b"))
