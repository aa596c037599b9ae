import json

import pytest
from aiohttp import web

from services.experience_api import refusals
from services.experience_api.http.errors import refusing, response_to
from services.experience_api.refusals import Refusal, Refused
from shared.errors import Malformed, TooLarge, Unavailable


@pytest.mark.parametrize(
    ("error", "refusal", "sentence"),
    [
        (Refused(refusals.DRAINING, "leaving"), refusals.DRAINING, "leaving"),
        (Malformed("event 3: no id"), refusals.MALFORMED, "event 3: no id"),
        (TooLarge("5 of 4 bytes"), refusals.TOO_LARGE, "5 of 4 bytes"),
        (web.HTTPRequestEntityTooLarge(1, 2), refusals.TOO_LARGE, "the body is above the limit of 4096 bytes"),
        (web.RequestPayloadError("zlib"), refusals.MALFORMED, "the body cannot be read to its end, or decoded"),
        (Unavailable("db:5432: secret place"), refusals.UNAVAILABLE, refusals.UNAVAILABLE.title),
    ],
)
def test_what_is_wrong_becomes_a_refusal(error: Exception, refusal: Refusal, sentence: str) -> None:
    with pytest.raises(Refused) as refused, refusing(4096):
        raise error
    assert refused.value.refusal is refusal
    assert refused.value.sentence == sentence


def test_a_fault_of_ours_is_no_refusal() -> None:
    with pytest.raises(KeyError), refusing(4096):
        raise KeyError("bug")


@pytest.mark.parametrize("refusal", refusals.ALL, ids=lambda refusal: refusal.code)
def test_every_refusal_is_problem_details(refusal: Refusal) -> None:
    response = response_to(Refused(refusal, "what to do", retry_after=1.2))
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


def test_no_time_to_wait_is_no_header() -> None:
    assert "Retry-After" not in response_to(Refused(refusals.ALREADY_CONNECTED)).headers


def test_the_upgrade_that_is_wanted_is_named() -> None:
    assert response_to(Refused(refusals.UPGRADE_REQUIRED)).headers["Upgrade"] == "websocket"
