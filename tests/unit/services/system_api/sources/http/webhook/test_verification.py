"""Requests are verified as each family of senders signs them; the vectors are those that the senders publish."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import pytest
from multidict import CIMultiDict
from pydantic import TypeAdapter

from services.system_api.sources.http.webhook.refusals import Refused
from services.system_api.sources.http.webhook.verification import verifier
from services.system_api.sources.http.webhook.verify_options import VerifyOptions
from tests.servers import webhook_senders as senders

NOW = 1_800_000_000.0
_options: TypeAdapter[Any] = TypeAdapter(VerifyOptions)


def outcome(settings: Mapping[str, Any], headers: Mapping[str, str], body: bytes, now: float = NOW) -> str:
    """Return the code of the refusal, `verified` if there is none."""
    try:
        verifier(_options.validate_python(settings))(CIMultiDict(headers), now).check(body)
    except Refused as exc:
        return exc.refusal.code
    return "verified"


GITHUB = {"kind": "github", "secrets": ["It's a Secret to Everybody"]}
GITHUB_HEADERS = {"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}
SLACK = {"kind": "slack", "secrets": ["8f742231b10e8888abcd99yyyzzz85a5"]}
SLACK_AT = 1531420618
SLACK_HEADERS = {
    "X-Slack-Request-Timestamp": str(SLACK_AT),
    "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
}
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id="
    b"398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
STANDARD = {"kind": "standard", "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}
STANDARD_AT = 1614265330
STANDARD_HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(STANDARD_AT),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
STANDARD_BODY = b'{"test": 2432232314}'


def test_the_vector_of_github() -> None:
    assert outcome(GITHUB, GITHUB_HEADERS, b"Hello, World!") == "verified"
    assert outcome(GITHUB, GITHUB_HEADERS, b"Hello, World") == "signature-wrong"


def test_the_vector_of_slack() -> None:
    assert outcome(SLACK, SLACK_HEADERS, SLACK_BODY, SLACK_AT) == "verified"
    assert outcome(SLACK, SLACK_HEADERS, SLACK_BODY + b"&", SLACK_AT) == "signature-wrong"


def test_the_vector_of_standard_webhooks() -> None:
    assert outcome(STANDARD, STANDARD_HEADERS, STANDARD_BODY, STANDARD_AT) == "verified"
    assert outcome(STANDARD, STANDARD_HEADERS, b'{"test":2432232314}', STANDARD_AT) == "signature-wrong"
    other = STANDARD_HEADERS | {"webhook-id": "msg_other"}
    assert outcome(STANDARD, other, STANDARD_BODY, STANDARD_AT) == "signature-wrong"


def test_stripe_signs_the_time_and_the_body() -> None:
    settings = {"kind": "stripe", "secrets": ["whsec_new", "whsec_old"]}
    body = b'{"id":"evt_1"}'
    assert outcome(settings, senders.stripe(body, NOW, "whsec_old"), body) == "verified"
    assert outcome(settings, senders.stripe(body, NOW, "other", "whsec_new"), body) == "verified"
    assert outcome(settings, senders.stripe(body, NOW, "other"), body) == "signature-wrong"
    moved = senders.stripe(body, NOW, "whsec_old")["Stripe-Signature"].replace(str(int(NOW)), str(int(NOW) - 1))
    assert outcome(settings, {"Stripe-Signature": moved}, body) == "signature-wrong"


@pytest.mark.parametrize("later", [-301, 301])
def test_a_time_outside_the_tolerance_is_refused_without_the_body(later: float) -> None:
    cases: list[tuple[Mapping[str, Any], Mapping[str, str], float]] = [
        ({"kind": "stripe", "secrets": ["s"]}, senders.stripe(b"", NOW, "s"), NOW),
        (SLACK, SLACK_HEADERS, SLACK_AT),
        (STANDARD, STANDARD_HEADERS, STANDARD_AT),
    ]
    for settings, headers, at in cases:
        with pytest.raises(Refused) as refused:
            verifier(_options.validate_python(settings))(CIMultiDict(headers), at + later)
        assert refused.value.refusal.code == "timestamp-outside-tolerance"
        verifier(_options.validate_python(settings))(CIMultiDict(headers), at + later * 299 / 301)


@pytest.mark.parametrize(
    ("settings", "headers", "code"),
    [
        (GITHUB, {}, "signature-missing"),
        (GITHUB, {"X-Hub-Signature-256": "sha1=00"}, "signature-malformed"),
        (GITHUB, {"X-Hub-Signature-256": "sha256=zz"}, "signature-malformed"),
        (GITHUB, {"X-Hub-Signature-256": "sha256=é0"}, "signature-malformed"),
        ({"kind": "stripe", "secrets": ["s"]}, {"Stripe-Signature": "v1=00"}, "signature-malformed"),
        ({"kind": "stripe", "secrets": ["s"]}, {"Stripe-Signature": "t=1"}, "signature-malformed"),
        ({"kind": "stripe", "secrets": ["s"]}, {"Stripe-Signature": "t=x,v1=00"}, "signature-malformed"),
        ({"kind": "stripe", "secrets": ["s"]}, {"Stripe-Signature": f"t={'9' * 5000},v1=00"}, "signature-malformed"),
        (SLACK, SLACK_HEADERS | {"X-Slack-Signature": "v1=00"}, "signature-malformed"),
        (SLACK, {"X-Slack-Signature": "v0=00"}, "signature-missing"),
        (STANDARD, STANDARD_HEADERS | {"webhook-signature": "v1a,eA=="}, "signature-malformed"),
        (STANDARD, STANDARD_HEADERS | {"webhook-timestamp": str(int(NOW)), "webhook-signature": "v1,é"},
         "signature-malformed"),
    ],
)  # fmt: skip
def test_headers_without_a_proof(settings: Mapping[str, Any], headers: Mapping[str, str], code: str) -> None:
    assert outcome(settings, headers, b"") == code


def test_an_hmac_in_a_header_of_your_choice() -> None:
    body = b'{"id":1}'
    digest = hmac.new(b"shared", body, hashlib.sha256).digest()
    shopify = {"kind": "hmac", "secrets": ["shared"], "header": "X-Shopify-Hmac-SHA256", "encoding": "base64"}
    assert outcome(shopify, {"X-Shopify-Hmac-SHA256": base64.b64encode(digest).decode()}, body) == "verified"
    assert outcome(shopify, {"X-Shopify-Hmac-SHA256": digest.hex()}, body) == "signature-wrong"
    sha1 = {"kind": "hmac", "secrets": ["shared"], "header": "X-Sig", "algorithm": "sha1", "prefix": "sha1="}
    assert outcome(sha1, {"X-Sig": f"sha1={hmac.new(b'shared', body, 'sha1').hexdigest()}"}, body) == "verified"


def test_tokens_and_passwords() -> None:
    bearer = {"kind": "bearer", "tokens": ["old token", "new"]}
    assert outcome(bearer, {"Authorization": "Bearer new"}, b"") == "verified"
    assert outcome(bearer, {"Authorization": "bearer old token"}, b"") == "verified"
    assert outcome(bearer, {"Authorization": "Basic new"}, b"") == "token-wrong"
    assert outcome(bearer, {"Authorization": "Bearer é"}, b"") == "token-wrong"
    assert outcome(bearer, {}, b"") == "token-wrong"
    basic = {"kind": "basic", "username": "u", "passwords": ["one", "two"]}
    given = base64.b64encode(b"u:two").decode()
    assert outcome(basic, {"Authorization": f"Basic {given}"}, b"") == "verified"
    assert outcome(basic, {"Authorization": f"Basic {base64.b64encode(b'u:three').decode()}"}, b"") == "password-wrong"


def test_nothing_is_verified_only_where_that_is_asked_for() -> None:
    assert outcome({"kind": "none"}, {}, b"anything") == "verified"
