"""The settings of webhooks."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.system_api.sources.http.received.options import HeaderValue
from services.system_api.sources.http.webhook.options import BodyDigest, WebhookSourceOptions

BEARER = {"kind": "bearer", "tokens": ["t"]}
GITHUB = {"kind": "github", "secrets": ["s"]}


def options(**given: Any) -> WebhookSourceOptions:
    return WebhookSourceOptions.model_validate({"kind": "webhook", "type": "t", "verify": GITHUB} | given)


def test_senders_that_are_known_have_an_id() -> None:
    assert options().identity == HeaderValue(header="X-GitHub-Delivery")
    assert options(verify={"kind": "stripe", "secrets": ["s"]}).identity == "id"
    assert options(delivery_id="other").identity == "other"


def test_others_need_one() -> None:
    with pytest.raises(ValidationError, match=r"delivery_id: required with verify\.kind: bearer"):
        options(verify=BEARER)
    assert options(verify=BEARER, delivery_id={"body": True}).identity == BodyDigest(body=True)


def test_verification_is_never_left_out_by_omission() -> None:
    with pytest.raises(ValidationError, match="verify"):
        WebhookSourceOptions.model_validate({"kind": "webhook", "type": "t", "delivery_id": {"none": True}})


def test_expressions_and_headers() -> None:
    found = options(
        subject={"header": "X-Subject"}, type_from={"header": "X-GitHub-Event"}, id="a", verify=GITHUB, delivery_id="b"
    )
    assert found.expressions() == {"records": "$", "id": "a", "delivery_id": "b"}
    assert found.kept_headers() == ("X-Subject", "X-GitHub-Event")
