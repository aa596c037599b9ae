"""Look-ups at an HTTP API."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.process_api.pipeline.steps.outcome import Blocked, Rejected
from tests.integration.services.process_api.pipeline.steps.running import running
from tests.servers.http_api import HttpApi, http_api


@pytest.fixture
async def api() -> AsyncIterator[HttpApi]:
    async with http_api() as running_api:
        yield running_api


def enrich(api: HttpApi, path: str, **more: Any) -> Any:
    http = {"url": api.url(path), "network": {"allow": ["127.0.0.1"]}, **more}
    return {"enrich": {"http": http, "key": "customer", "into": "data.found"}}


async def test_each_key_has_a_request_and_404_is_nothing(api: HttpApi) -> None:
    api.answer("/customers/A B", {"name": "Ada"})
    async with running(enrich(api, "/customers/{key}", auth={"kind": "bearer", "token": "t"})) as run:
        first, again, none = await run({"customer": "A B"}, {"customer": "A B"}, {"customer": "a/b"})
        (later,) = await run({"customer": "A B"})
    assert first == again == later == {"customer": "A B", "found": {"name": "Ada"}}
    assert none == {"customer": "a/b"}
    assert sorted(api.paths()) == ["/customers/A%20B", "/customers/a%2Fb"]
    assert {request.headers["Authorization"] for request in api.requests} == {"Bearer t"}


async def test_a_key_does_not_lead_to_another_resource(api: HttpApi) -> None:
    api.answer("/customers/1", {"name": "Ada"})
    api.answer("/", {"secret": True})
    async with running(enrich(api, "/customers/{key}")) as run:
        refused, found = await run({"customer": ".."}, {"customer": 1})
    assert isinstance(refused, Rejected)
    assert found["found"] == {"name": "Ada"}
    assert api.paths() == ["/customers/1"]


async def test_one_request_asks_for_several_keys(api: HttpApi) -> None:
    api.answer(
        "/customers", {"items": [{"id": 1, "name": "Ada"}, {"id": "2", "name": "Bob"}]}, {"items": {"id": 4}}, {}
    )
    batch = {"size": 3, "items": "items", "key": "id"}
    async with running(enrich(api, "/customers?ids={keys}", batch=batch)) as run:
        found = await run(*({"customer": number} for number in (1, 2, 3, 4, 5)))
        nothing = await run({"customer": 6})
    assert [each.get("found") for each in found] == [
        {"id": 1, "name": "Ada"},
        {"id": "2", "name": "Bob"},
        None,
        {"id": 4},
        None,
    ]
    assert nothing == [{"customer": 6}]
    assert api.paths() == ["/customers?ids=1,2,3", "/customers?ids=4,5", "/customers?ids=6"]


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        ((200, {}, b"<html>"), Rejected, "the response is not JSON"),
        ((200, {}, b"[" + b"1," * 600 + b"1]"), Rejected, "1024"),
        ((400, {}, b"no"), Rejected, "400 Bad Request"),
        ((302, {"Location": "http://169.254.169.254/"}, None), Blocked, "a cloud metadata address"),
        (500, Blocked, "500 Internal Server Error"),
        ((429, {"Retry-After": "60"}, None), Blocked, "429"),
        (401, Blocked, "401"),
    ],
)
async def test_an_answer_that_cannot_be_used_concerns_its_event_and_none_holds(
    api: HttpApi, answer: Any, kind: type[Exception], reason: str
) -> None:
    api.answer("/customers/1", answer)
    async with running(enrich(api, "/customers/{key}", response_limit=1024)) as run:
        (failed,) = await run({"customer": 1})
    assert isinstance(failed, kind)
    assert reason in str(failed)


async def test_a_key_that_fails_leaves_what_was_found_for_the_others(api: HttpApi) -> None:
    api.answer("/customers/1", {"name": "Ada"})
    api.answer("/customers/2", 400)
    api.answer("/customers/3", 503)
    async with running(enrich(api, "/customers/{key}")) as run:
        one, two, three = await run({"customer": 1}, {"customer": 2}, {"customer": 3})
        await run({"customer": 1})
    assert one["found"] == {"name": "Ada"}
    assert (type(two), type(three)) == (Rejected, Blocked)
    assert sorted(api.paths()) == ["/customers/1", "/customers/2", "/customers/3"]


async def test_an_expression_takes_the_value_out_of_the_response(api: HttpApi) -> None:
    api.answer("/1", {"data": {"name": "Ada"}}, {"data": None})
    async with running(enrich(api, "/{key}", response="data.name")) as run:
        assert await run({"customer": 1}) == [{"customer": 1, "found": "Ada"}]
