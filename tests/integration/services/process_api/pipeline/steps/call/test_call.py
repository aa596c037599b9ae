"""`call` against a real server."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from services.process_api.pipeline.steps.outcome import Blocked, Rejected
from tests.integration.services.process_api.pipeline.steps.running import running
from tests.servers.http_api import HttpApi, http_api


@pytest.fixture
async def api() -> AsyncIterator[HttpApi]:
    async with http_api() as running_api:
        yield running_api


def call(api: HttpApi, path: str = "/score", **more: Any) -> Any:
    retry = {"attempts": 2, "first_wait": 0, "longest_wait": 0}
    return {"call": {"url": api.url(path), "network": {"allow": ["127.0.0.1"]}, "retry": retry, **more}}


async def test_the_answer_is_set_and_the_key_is_the_same_each_time(api: HttpApi) -> None:
    api.answer("/orders/7", 500, {"score": 0.2})
    step = call(api, "/orders/{id}", body="{'a': amount}", into="data.score", response="score")
    async with running(step) as run:
        assert await run({"id": 7, "amount": 5}) == [{"id": 7, "amount": 5, "score": 0.2}]
        await run({"id": 7, "amount": 5})
    assert [await request.json() for request in api.requests] == [{"a": 5}] * 3
    keys = {request.headers["Idempotency-Key"] for request in api.requests}
    assert len(keys) == 1
    assert len(keys.pop()) == 36


async def test_an_answer_that_is_not_wanted_is_not_read_as_json(api: HttpApi) -> None:
    api.answer("/score", (204, {}, None))
    async with running(call(api, method="PUT"), call(api, method="DELETE")) as run:
        assert await run({"n": 1}) == [{"n": 1}]
    put, delete = api.requests
    assert (put.method, await put.json(), delete.method, await delete.read()) == ("PUT", {"n": 1}, "DELETE", b"")
    assert put.headers["Idempotency-Key"] != delete.headers["Idempotency-Key"]


@pytest.mark.parametrize(
    ("answer", "on_error", "expected"),
    [
        (500, "hold", Blocked),
        (500, "dead_letter", Rejected),
        (500, "default", {"n": 1, "score": 0}),
        (400, "hold", Rejected),
        (400, "dead_letter", Rejected),
        (400, "default", {"n": 1, "score": 0}),
        ((200, {}, b"<html>"), "hold", Rejected),
        ((200, {}, b"<html>"), "default", {"n": 1, "score": 0}),
        ((302, {"Location": "/"}, None), "hold", Rejected),
    ],
)
async def test_what_an_error_leads_to(api: HttpApi, answer: Any, on_error: str, expected: Any) -> None:
    api.answer("/score", answer)
    more: dict[str, Any] = {"default": 0} if on_error == "default" else {}
    async with running(call(api, into="data.score", on_error=on_error, **more)) as run:
        (found,) = await run({"n": 1})
    assert found == expected if isinstance(expected, dict) else isinstance(found, expected)
    assert len(api.requests) == (2 if answer == 500 else 1)


async def test_an_open_circuit_sends_nothing(api: HttpApi) -> None:
    api.answer("/score", 500)
    async with running(call(api, circuit={"failures": 2, "open_seconds": 60}, on_error="dead_letter")) as run:
        await run({})
        (found,) = await run({})
    assert "the circuit is open for another 60 s" in str(found)
    assert len(api.requests) == 2


@pytest.mark.parametrize("answer", [500, (200, {}, b"<html>")])
async def test_no_error_shows_a_secret_of_the_url(api: HttpApi, answer: Any) -> None:
    api.answer("/score", answer)
    step = call(api, "/score?token=s3cret", into="data.score", circuit={"failures": 1}, on_error="dead_letter")
    async with running(step) as run:
        for _ in range(2):  # the second one may find the circuit open
            (found,) = await run({})
            assert isinstance(found, Rejected)
            assert "/score?token=***" in str(found)


async def test_no_error_of_a_budget_shows_a_secret_of_the_url(api: HttpApi) -> None:
    api.answer("/score", {})
    async with running(call(api, "/score?token=s3cret", rate={"requests": 1, "seconds": 3600})) as run:
        _, two = await run({"n": 1}, {"n": 2})
    assert "/score?token=***: no request for another" in str(two)


async def test_events_of_one_subject_are_sent_in_order_and_wait_for_each_other(api: HttpApi) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({}, status=500 if (await request.json())["n"] == 2 else 200)

    api.answer("/score", answer)
    async with running(call(api)) as run:
        one, two, three = await run({"n": 1}, {"n": 2}, {"n": 3})
    assert one == {"n": 1}
    assert isinstance(two, Blocked)
    assert isinstance(three, Blocked)
    assert [json.loads(await request.read())["n"] for request in api.requests] == [1, 2, 2]


async def test_an_address_inside_the_network_is_not_called(api: HttpApi) -> None:
    step = call(api)
    step["call"] |= {"network": {}, "url": f"http://localhost:{api.port}/score"}
    async with running(step) as run:
        (found,) = await run({})
    assert isinstance(found, Blocked)
    assert "a loopback address" in str(found)
    assert api.requests == []


@pytest.mark.parametrize("on_error", ["dead_letter", "default"])
async def test_the_own_budget_holds_events_whatever_happens_on_errors(api: HttpApi, on_error: str) -> None:
    api.answer("/score", {})
    rate = {"requests": 1, "seconds": 3600}
    circuit = {"failures": 1, "open_seconds": 60}
    async with running(call(api, rate=rate, circuit=circuit, on_error=on_error, into="data.score")) as run:
        one, two = await run({"n": 1}, {"n": 2})
        (three,) = await run({"n": 3})
    assert one == {"n": 1, "score": {}}
    for held in (two, three):
        assert isinstance(held, Blocked)
        assert "as its budget or the API wants" in str(held)
    assert len(api.requests) == 1
