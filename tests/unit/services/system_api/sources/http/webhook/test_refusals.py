"""Refusals are problem details with a stable code."""

from services.system_api.sources.http.webhook import refusals
from services.system_api.sources.http.webhook.refusals import REFUSALS, Refused


def test_codes_are_unique_and_statuses_are_errors() -> None:
    assert len({refusal.code for refusal in REFUSALS}) == len(REFUSALS)
    assert all(400 <= refusal.status < 600 for refusal in REFUSALS)


def test_what_can_be_sent_again_says_when() -> None:
    assert Refused(refusals.UNAVAILABLE).headers == {"Retry-After": "5"}
    assert Refused(refusals.RATE_LIMITED, retry_after=0.2).headers == {"Retry-After": "1"}
    assert all(refusal.retry_after > 0 for refusal in REFUSALS if refusal.status in {429, 503})


def test_401_has_a_challenge() -> None:
    assert all((refusal.status == 401) == bool(refusal.challenge) for refusal in REFUSALS)
    refused = Refused(refusals.TOKEN_WRONG, "more")
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert refused.detail.endswith("Bearer …: more")
    assert refused.members == {"code": "token-wrong"}
