import json
from typing import NoReturn

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from services.experience_api import refusals
from services.experience_api.http.errors import refusing
from services.experience_api.refusals import Refusal, Refused
from shared.errors import Malformed, TooLarge, Unavailable
from shared.http.problem import problems


async def response_to(refused: Refused) -> web.Response:
    """Return the response of the middleware of every listener."""

    async def handler(_request: web.Request) -> NoReturn:
        raise refused

    response = await problems(make_mocked_request("GET", "/ws/publish"), handler)
    assert isinstance(response, web.Response)
    return response


@pytest.mark.parametrize(
    ("error", "refusal", "detail"),
    [
        (Refused(refusals.DRAINING, "leaving"), refusals.DRAINING, "leaving"),
        (Malformed("event 3: no id"), refusals.MALFORMED, "event 3: no id"),
        (TooLarge("5 of 4 bytes"), refusals.TOO_LARGE, "5 of 4 bytes"),
        (web.HTTPRequestEntityTooLarge(1, 2), refusals.TOO_LARGE, "the body exceeds the limit of 4096 bytes"),
        (web.RequestPayloadError("zlib"), refusals.MALFORMED, "the body is incomplete or cannot be decoded"),
        (Unavailable("db:5432: secret place"), refusals.UNAVAILABLE, refusals.UNAVAILABLE.title),
    ],
)
def test_an_error_becomes_a_refusal(error: Exception, refusal: Refusal, detail: str) -> None:
    with pytest.raises(Refused) as refused, refusing(4096):
        raise error
    assert refused.value.refusal is refusal
    assert refused.value.detail == detail


@pytest.mark.parametrize("kind", [Malformed, TooLarge])
async def test_the_event_of_a_batch_that_is_refused_is_named(kind: type[Malformed]) -> None:
    with pytest.raises(Refused) as refused, refusing(4096):
        raise kind.of_event(3, "no id")
    response = await response_to(refused.value)
    assert isinstance(response.body, bytes)
    found = json.loads(response.body)
    assert (found["detail"], found["event"]) == ("event 3: no id", 3)


def test_an_unexpected_error_is_no_refusal() -> None:
    with pytest.raises(KeyError), refusing(4096):
        raise KeyError("bug")


@pytest.mark.parametrize("refusal", refusals.ALL, ids=lambda refusal: refusal.code)
async def test_the_middleware_responds_to_every_refusal_with_problem_details(refusal: Refusal) -> None:
    response = await response_to(Refused(refusal, "what to do", retry_after=1.2))
    assert response.status == refusal.status
    assert response.content_type == "application/problem+json"
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "type": f"urn:trelay:problem:{refusal.code}",
        "title": refusal.title,
        "status": refusal.status,
        "code": refusal.code,
        "detail": "what to do",
    }
    assert response.headers["Retry-After"] == "2"
    assert ("WWW-Authenticate" in response.headers) == (refusal.status == 401)


async def test_without_a_time_to_wait_there_is_no_retry_after() -> None:
    assert "Retry-After" not in (await response_to(Refused(refusals.ALREADY_CONNECTED))).headers


async def test_a_required_upgrade_is_named() -> None:
    headers = (await response_to(Refused(refusals.UPGRADE_REQUIRED))).headers
    assert (headers["Upgrade"], headers["Sec-WebSocket-Version"]) == ("websocket", "13")
