import contextlib
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from services.experience_api.admin.requests import (
    PAGE,
    Page,
    check_empty,
    read_change,
    read_connection,
    read_limit,
    read_new_client,
    read_page,
    read_rotate,
)
from services.experience_api.registry.clients import ClientChange, Policy
from shared.errors import Malformed

WRONG = (b"1.5", b'"2"', b"true", b"null", b"1e400")
READERS: list[Callable[[bytes], object]] = [read_new_client, read_change, read_rotate, check_empty]


def test_what_is_named_changes_and_nothing_else() -> None:
    body = json.dumps({"channels": ["a.*"], "policy": "reject", "may_send": False}).encode()
    assert read_change(body) == ClientChange(channels=("a.*",), policy=Policy.REJECT, may_send=False)


def test_a_client_has_the_usual_members_unless_others_are_named() -> None:
    found = read_new_client(b'{"client_id": "shop"}')
    assert (found.client_id, found.secret, found.channels, found.policy) == ("shop", None, ("**",), Policy.PROBE)
    assert read_rotate(b'{"overlap": 60}').overlap == 60.0


@pytest.mark.parametrize("text", ["2", "2.0", "20e-1"])
def test_a_whole_number_may_be_written_with_a_fraction(text: str) -> None:
    assert read_new_client(f'{{"client_id": "a", "max_connections": {text}}}'.encode()).max_connections == 2
    found = read_change(f'{{"max_connections": {text}}}'.encode()).max_connections
    assert (found, json.dumps(found)) == (2, "2")


@pytest.mark.parametrize(
    ("read", "body", "said"),
    [
        (read_new_client, b"{}", "client_id"),
        (read_new_client, b"[]", "object"),
        (read_new_client, b'{"client_id": "a", "admin": true}', "admin"),
        (read_new_client, b'{"client_id": "a", "policy": "never"}', "policy"),
        *((read_new_client, b'{"client_id": "a", "max_connections": %b}' % text, "max_connections") for text in WRONG),
        (read_change, b'{"max_connections": 1.5}', "max_connections"),
        (read_change, b"{}", "nothing to change; expected one of channels, may_send"),
        (read_change, b'{"channels": null}', "channels"),
        (read_change, b'{"channels": "a"}', "channels"),
        (read_change, b'{"note": 5}', "note"),
        (read_rotate, b"{}", "overlap"),
        (read_rotate, b'{"overlap": "1h"}', "overlap"),
        (read_rotate, b"\xff", "body"),
        (check_empty, b'{"force": true}', "expected none"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_invalid_body_is_named(read: Callable[[bytes], object], body: bytes, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        read(body)


@pytest.mark.parametrize("read", READERS, ids=["new", "change", "rotate", "empty"])
@given(body=st.binary() | st.recursive(st.none() | st.text(), st.lists).map(lambda value: json.dumps(value).encode()))
def test_any_body_is_read_or_refused(read: Callable[[bytes], object], body: bytes) -> None:
    with contextlib.suppress(Malformed):
        read(body)


def test_a_body_nested_very_deep_is_refused() -> None:
    with pytest.raises(Malformed):
        read_new_client(b'{"client_id":' + b"[" * 100_000)


def test_no_body_and_an_empty_object_are_none() -> None:
    check_empty(b"")
    check_empty(b" {} ")


@pytest.mark.parametrize(
    ("query", "found"),
    [({}, Page("", PAGE)), ({"after": "shop", "limit": "7"}, Page("shop", 7)), ({"limit": "1000"}, Page("", 1000))],
    ids=["none", "both", "most"],
)
def test_a_page(query: dict[str, str], found: Page) -> None:
    assert read_page(MultiDict(query)) == found


@pytest.mark.parametrize(
    "query",
    [{"limit": value} for value in ("0", "1001", "-1", "1.5", "", "x", "9" * 50, "\u0665")]
    + [{"after": "a b"}, {"after": "a\0"}, {"page": "2"}],
    ids=str,
)
def test_an_invalid_page_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(Malformed, match="query parameter"):
        read_page(MultiDict(query))


def test_a_limit_has_a_range_of_its_own() -> None:
    assert read_limit(MultiDict[str](), 5, 10) == 5
    with pytest.raises(Malformed, match="expected 1 to 10"):
        read_limit(MultiDict(limit="11"), 5, 10)


def test_the_id_of_a_connection() -> None:
    known: Any = "0b0e1a52-6c3f-4f0e-9d56-3f1c8a2b7e10"
    assert read_connection(known) == UUID(known)
    assert read_connection("x") is None
