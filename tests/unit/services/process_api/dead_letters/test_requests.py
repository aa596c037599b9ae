"""What requests may ask."""

import json
from typing import Any

import pytest

from services.process_api.dead_letters.decisions import Status
from services.process_api.dead_letters.places import Place
from services.process_api.dead_letters.replays import Edit
from services.process_api.dead_letters.requests import DecideRequest, ListRequest
from shared.errors import Malformed


def parsed(status: Status = Status.REPLAYED, **body: Any) -> DecideRequest:
    return DecideRequest.parse(status, json.dumps(body).encode())


def test_a_list_has_defaults() -> None:
    request = ListRequest.parse({})
    assert (request.status, request.limit, request.newest_first, request.cursor) == (Status.OPEN, 50, True, None)
    request = ListRequest.parse({"status": "all", "limit": "9", "order": "oldest", "cursor": "c", "source": "orders"})
    assert (request.status, request.limit, request.newest_first, request.cursor) == (None, 9, False, "c")
    assert request.wanted.source == "orders"
    assert request.digest == ListRequest.parse({"status": "all", "order": "oldest", "source": "orders"}).digest


def test_counts_have_no_order_and_no_limit() -> None:
    request = ListRequest.parse({"source": "orders"}, counts=True)
    assert not request.newest_first
    assert request.digest != ListRequest.parse({"source": "orders"}).digest
    with pytest.raises(Malformed, match="found the parameter 'limit'"):
        ListRequest.parse({"limit": "5"}, counts=True)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"state": "open"}, "found the parameter 'state'; expected cursor, error, limit"),
        ({"status": "closed"}, "status: found 'closed'; expected open, replayed, dropped or all"),
        ({"order": "up"}, "order: found 'up'; expected newest or oldest"),
        ({"limit": "0"}, "limit: found '0'; expected a number from 1 to 1000"),
        ({"limit": "x"}, "limit: found 'x'"),
    ],
    ids=["name", "status", "order", "limit", "word"],
)
def test_a_wrong_query_says_what_was_expected(query: dict[str, str], text: str) -> None:
    with pytest.raises(Malformed, match=text):
        ListRequest.parse(query)


def test_a_request_names_letters_or_filters_them() -> None:
    assert parsed(ids=["0-10", "0-9", "0-9"]).ids == (Place(0, 9), Place(0, 10))
    assert parsed(source="orders").wanted.source == "orders"
    assert parsed(all=True).wanted.empty
    assert parsed(Status.DROPPED, all=True).to is None
    assert parsed(all=True).to == "pipeline"
    assert parsed(all=True, to={"channel": "a.b"}).to == "channel:a.b"
    assert parsed(all=True, dry_run=True, cursor="c", reason="r").dry_run


def test_an_edit_keeps_the_text_of_its_numbers() -> None:
    body = b'{"ids": ["0-1"], "data": {"n": 1.10}}'
    assert DecideRequest.parse(Status.REPLAYED, body).edit == Edit(data=b'{"n": 1.10}')
    assert parsed(ids=["0-1"], event={"id": "x"}).edit == Edit(event=b'{"id": "x"}')


def test_a_replay_goes_to_the_pipeline_that_refused_the_event_to_another_one_or_to_a_channel() -> None:
    targets = ["pipeline", {"pipeline": "renamed"}, {"channel": "orders.fixed"}]
    asked = [parsed(all=True), *(parsed(all=True, to=to) for to in targets)]
    assert [(each.channel, each.pipeline, each.to) for each in asked] == [
        (None, "", "pipeline"),
        (None, "", "pipeline"),
        (None, "renamed", "pipeline:renamed"),
        ("orders.fixed", "", "channel:orders.fixed"),
    ]


def test_the_digest_is_that_of_all_but_the_cursor() -> None:
    assert parsed(all=True).digest == parsed(all=True, cursor="c", dry_run=True).digest
    assert parsed(all=True).digest != parsed(all=True, reason="r").digest
    assert parsed(all=True).digest != parsed(Status.DROPPED, all=True).digest


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (Status.REPLAYED, b"[]", "expected a JSON object"),
        (Status.REPLAYED, b"\xff", "expected a JSON object"),
        (Status.REPLAYED, b"", "which letters"),
        (Status.REPLAYED, b'{"all": false}', "which letters"),
        (Status.REPLAYED, b'{"all": 1}', "all: expected true or false"),
        (Status.REPLAYED, b'{"ids": []}', "ids: expected a list of 1 to 1000"),
        (Status.REPLAYED, b'{"ids": [3]}', "ids: expected a list"),
        (Status.REPLAYED, b'{"ids": ["0-1"], "all": true}', "no filter and no `all` beside"),
        (Status.REPLAYED, b'{"ids": ["0-1"], "source": "x"}', "no filter and no `all` beside"),
        (Status.REPLAYED, b'{"all": true, "to": "topic"}', 'expected "pipeline", '),
        (Status.REPLAYED, b'{"all": true, "to": {"channel": "a", "x": 1}}', 'expected "pipeline", '),
        (Status.REPLAYED, b'{"all": true, "to": {"channel": "a b"}}', "expected dotted words"),
        (Status.REPLAYED, b'{"all": true, "to": {"pipeline": ""}}', 'expected "pipeline", '),
        (Status.REPLAYED, b'{"all": true, "to": {"pipeline": "a", "channel": "a"}}', 'expected "pipeline", '),
        (Status.REPLAYED, b'{"all": true, "data": 1}', "expected `ids` with one id"),
        (Status.REPLAYED, b'{"ids": ["0-1", "0-2"], "data": 1}', "expected `ids` with one id"),
        (Status.REPLAYED, b'{"ids": ["0-1"], "data": 1, "event": 2}', "exclude one another"),
        (Status.REPLAYED, b'{"all": true, "reason": 3}', "reason: expected text"),
        (Status.REPLAYED, b'{"all": true, "cursor": 3}', "cursor: expected text"),
        (Status.DROPPED, b'{"all": true, "to": "pipeline"}', "found the member 'to'"),
    ],
    ids=lambda each: each.decode(errors="replace") if isinstance(each, bytes) else "",
)
def test_a_wrong_body_says_what_was_expected(status: Status, body: bytes, text: str) -> None:
    with pytest.raises(Malformed, match=text):
        DecideRequest.parse(status, body)
