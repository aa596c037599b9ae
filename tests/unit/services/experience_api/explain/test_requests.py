"""What is asked for."""

import pytest
from multidict import MultiDict

from services.experience_api.explain.audited import Audit
from services.experience_api.explain.requests import read_explain
from services.experience_api.explain.search import Search
from services.experience_api.explain.verdict import time_text
from shared.errors import Malformed

NOW = 1_700_000_000.0


def test_by_default_the_last_hour_is_read() -> None:
    asked = read_explain(MultiDict(event="orders:7", client="shop"), NOW)
    assert asked.client_id == "shop"
    assert asked.search == Search(
        "orders:7", "", 1_699_996_400_000, 1_700_000_000_000, 256 * 1_048_576, audit=Audit("shop")
    )


def test_the_range_the_source_and_the_limit_are_read() -> None:
    query = MultiDict(event="7", client="shop", source="orders", since="earliest", until="2m", limit="1")
    assert read_explain(query, NOW).search == Search(
        "7", "orders", 0, 1_699_999_880_000, 1_048_576, audit=Audit("shop")
    )


def test_a_time_is_one_that_can_be_shown() -> None:
    late = "9999-12-31T23:59:59-14:00"
    search = read_explain(MultiDict(event="7", client="shop", since=late, until=late), NOW).search
    assert time_text(search.since) == time_text(search.until) == "9999-01-01T00:00:00.000Z"
    early = read_explain(MultiDict(event="7", client="shop", since="0001-01-01T00:00:00+14:00"), NOW).search
    assert time_text(early.since) == "1970-01-01T00:00:00.000Z"


def test_a_cursor_continues() -> None:
    search = Search("7", "orders", 1, 2, 3, audit=Audit("shop"))
    assert read_explain(MultiDict(event="ignored", client="shop", cursor=search.save()), NOW).search == search


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"event": "7"}, "'client'.*expected the id of a client"),
        ({"client": "shop"}, "'event'.*expected the id of an event"),
        ({"client": "shop", "event": "x" * 1001}, "'event'"),
        ({"client": "shop", "event": "7", "source": "x" * 201}, "'source'"),
        ({"client": "shop", "event": "7", "since": "x"}, "'since': found 'x'; expected"),
        ({"client": "shop", "event": "7", "until": "x"}, "'until': found 'x'; expected"),
        ({"client": "shop", "event": "7", "since": "1m", "until": "2m"}, "'since': found a later time"),
        ({"client": "shop", "event": "7", "limit": "0"}, "'limit'.*expected 1 to 16384 MiB"),
        ({"client": "shop", "event": "7", "limit": "99999"}, "'limit'"),
        ({"client": "shop", "event": "7", "cursor": "x"}, "'cursor'"),
        ({"client": "shop", "cursor": Search("7", "", 1, 2, 3, audit=Audit("other")).save()}, "with the same `client`"),
        ({"client": "shop", "event": "7", "more": "x"}, "'more': expected event, client"),
    ],
    ids=range(12),
)
def test_what_is_wrong_is_named(query: dict[str, str], text: str) -> None:
    with pytest.raises(Malformed, match=text):
        read_explain(MultiDict(query), NOW)
