"""What identifies a delivery, and challenges."""

from typing import Any

import pytest
from multidict import CIMultiDict

from services.system_api.sources.http.received.bodies import FORM
from services.system_api.sources.http.webhook.identity import DeliveryReader, read_apart
from services.system_api.sources.http.webhook.options import WebhookSourceOptions
from services.system_api.sources.http.webhook.refusals import Refused


def reader(kind: str = "bearer", **given: Any) -> DeliveryReader:
    return DeliveryReader(options(kind, **given))


def options(kind: str = "bearer", **given: Any) -> WebhookSourceOptions:
    verify = {"kind": kind, "tokens" if kind == "bearer" else "secrets": ["c2VjcmV0"]}
    return WebhookSourceOptions.model_validate({"kind": "webhook", "type": "t", "verify": verify} | given)


def test_by_a_header() -> None:
    headers = CIMultiDict({"X-GitHub-Delivery": "d-1", "Content-Type": "application/json", "X-GitHub-Event": "push"})
    found = reader("github", type_from={"header": "x-github-event"}).read(headers, b"{}")
    assert (found.id, found.content_type, found.headers) == ("d-1", "application/json", {"x-github-event": "push"})


@pytest.mark.parametrize(
    ("body", "content_type", "identity"),
    [
        (b'{"id":"evt_1"}', "application/json", "evt_1"),
        (b'{"id":17}', "application/json", "17"),
        (b"payload=%7B%22id%22%3A%22x%22%7D", FORM, "x"),
    ],
)
def test_by_an_expression(body: bytes, content_type: str, identity: str) -> None:
    assert reader("stripe").read(CIMultiDict({"Content-Type": content_type}), body).id == identity


@pytest.mark.parametrize("body", [b"{}", b'{"id":null}', b'{"id":""}', b'{"id":[1]}', b"{no json", b'{"id":"a\\nb"}'])
def test_a_body_that_has_none_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        reader("stripe").read(CIMultiDict(), body)
    assert refused.value.refusal.code == "delivery-id-missing"


def test_a_header_that_is_missing_or_too_long() -> None:
    for headers in ({}, {"X-GitHub-Delivery": "x" * 201}):
        with pytest.raises(Refused, match="X-GitHub-Delivery"):
            reader("github").read(CIMultiDict(headers), b"{}")


def test_by_the_body_or_by_nothing() -> None:
    by_body = reader(delivery_id={"body": True})
    assert by_body.read(CIMultiDict(), b"a").id == by_body.read(CIMultiDict(), b"a").id
    assert by_body.read(CIMultiDict(), b"a").id != by_body.read(CIMultiDict(), b"b").id
    assert reader(delivery_id={"none": True}).read(CIMultiDict(), b"a").id is None


def test_the_challenge_of_slack_is_answered() -> None:
    body = b'{"token":"t","challenge":"3eZbrw1a","type":"url_verification"}'
    assert reader("slack").challenge(body) == b'{"challenge":"3eZbrw1a"}'
    assert reader("github").challenge(body) is None
    for other in (b'{"type":"event_callback","challenge":"url_verification"}', b"url_verification", b"{}"):
        assert reader("slack").challenge(other) is None


def test_apart_from_the_event_loop_a_refusal_is_returned() -> None:
    assert (reader("stripe").evaluates, reader("github").evaluates) == (True, False)
    headers = CIMultiDict({"Content-Type": "application/json"})
    found = read_apart(options("stripe"), headers, b'{"id":"evt_1"}')
    assert found == reader("stripe").read(headers, b'{"id":"evt_1"}')
    refused = read_apart(options("stripe"), headers, b"{}")
    assert isinstance(refused, Refused)
    assert (refused.refusal.code, refused.__traceback__) == ("delivery-id-missing", None)


def test_headers_that_are_not_text_can_be_stored() -> None:
    """As aiohttp gives bytes that are not UTF-8."""
    headers = CIMultiDict({"X-GitHub-Delivery": "d", "Content-Type": "text/\udce9", "X-GitHub-Event": "caf\udce9é"})
    found = reader("github", type_from={"header": "x-github-event"}).read(headers, b"{}")
    assert found.content_type == r"text/\xe9"
    assert found.headers == {"x-github-event": r"caf\xe9é"}
