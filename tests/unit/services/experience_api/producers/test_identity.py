from ipaddress import ip_address
from typing import Any

import pytest
from multidict import CIMultiDict

from services.experience_api.auth.admission import Budgets
from services.experience_api.producers.identity import ALLOWED_ADDRESS, Producer, Producers
from services.experience_api.producers.options import ProducerOptions
from services.experience_api.refusals import (
    ADDRESS_NOT_ALLOWED,
    PRODUCER_REFUSED,
    PUBLISHING_NOT_PERMITTED,
    TOO_MANY_ATTEMPTS,
    Refused,
)
from shared.http.origin import Networks, Origin

OLD, NEW, OTHER = ("0123456789abcdef0123456" + last for last in "012")
SHOP = {"tokens": [OLD, NEW], "certificates": ["shop.example.com"], "channels": ["orders.**", "stock"]}
BANK = {"tokens": [OTHER], "certificates": ["spiffe://bank"], "channels": ["**"]}
ALLOWED = Origin(ip_address("192.0.2.1"), proxied=False)
STRANGER = Origin(ip_address("198.51.100.1"), proxied=False)
CERTIFICATE = {
    "subject": ((("organizationName", "Shop"),), (("commonName", "ignored"),)),
    "subjectAltName": (("DNS", "shop.example.com"), ("IP Address", "192.0.2.7")),
}


def producers(failures: int = 20, **options: Any) -> Producers:
    given = options or {"shop": SHOP, "bank": BANK}
    parsed = {name: ProducerOptions.model_validate(each) for name, each in given.items()}
    return Producers(parsed, Networks(["192.0.2.0/24"]), Budgets(failures, 1, 100))


def bearer(*tokens: str) -> CIMultiDict[str]:
    return CIMultiDict(("Authorization", f"Bearer {token}") for token in tokens)


def refused(known: Producers, origin: Origin, headers: CIMultiDict[str], now: float = 0) -> Refused:
    with pytest.raises(Refused) as caught:
        known.identify(origin, headers, None, now)
    return caught.value


@pytest.mark.parametrize(("token", "name"), [(OLD, "shop"), (NEW, "shop"), (OTHER, "bank")])
@pytest.mark.parametrize("origin", [ALLOWED, STRANGER], ids=["allowed", "stranger"])
def test_a_token_names_its_producer_from_any_address(token: str, name: str, origin: Origin) -> None:
    assert producers().identify(origin, bearer(token), None, 0).name == name


def test_the_scheme_is_in_any_case() -> None:
    headers = CIMultiDict({"authorization": f"bEARER  {OLD} "})
    assert producers().identify(STRANGER, headers, None, 0).name == "shop"


@pytest.mark.parametrize("tokens", [["wrong"], [""], [OLD, NEW], [OLD, OLD], ["\udcff"], ["x" * 100_000]], ids=repr)
@pytest.mark.parametrize("origin", [ALLOWED, STRANGER], ids=["allowed", "stranger"])
def test_a_token_that_is_not_right_is_refused_from_any_address(tokens: list[str], origin: Origin) -> None:
    found = refused(producers(), origin, bearer(*tokens))
    assert found.refusal is PRODUCER_REFUSED
    assert found.headers["WWW-Authenticate"].startswith("Bearer")
    assert "is not that of a producer" in found.detail


def test_an_address_on_the_allow_list_needs_no_token() -> None:
    for headers in (CIMultiDict[str](), CIMultiDict({"Authorization": "Basic of-a-proxy"})):
        assert producers().identify(ALLOWED, headers, None, 0) is ALLOWED_ADDRESS


def test_a_stranger_without_a_token_is_told_what_to_send() -> None:
    found = refused(producers(), STRANGER, CIMultiDict())
    assert found.refusal is PRODUCER_REFUSED
    assert found.detail == "found no token of a producer; 198.51.100.1 is not on the allow list"


def test_without_producers_the_allow_list_decides_and_tokens_mean_nothing() -> None:
    alone = Producers({}, Networks(["192.0.2.0/24"]), Budgets(1, 1, 100))
    assert alone.identify(ALLOWED, bearer("of something else"), None, 0) is ALLOWED_ADDRESS
    for _ in range(3):
        assert refused(alone, STRANGER, bearer(OLD)).refusal is ADDRESS_NOT_ALLOWED


def test_failures_are_limited_by_address_and_never_hold_up_a_right_token() -> None:
    known = producers(failures=2)
    for _ in range(2):
        assert refused(known, STRANGER, bearer("wrong")).refusal is PRODUCER_REFUSED
    found = refused(known, STRANGER, bearer("wrong"))
    assert (found.refusal, found.retry_after) == (TOO_MANY_ATTEMPTS, 1)
    assert known.identify(STRANGER, bearer(OLD), None, 0).name == "shop"
    assert refused(known, ALLOWED, bearer("wrong")).refusal is PRODUCER_REFUSED
    assert refused(known, STRANGER, bearer("wrong"), now=1).refusal is PRODUCER_REFUSED


def test_a_certificate_names_its_producer_and_an_unknown_one_nobody() -> None:
    known = producers()
    assert known.identify(STRANGER, CIMultiDict(), CERTIFICATE, 0).name == "shop"
    unknown = {"subject": ((("commonName", "other"),),)}
    assert known.identify(ALLOWED, CIMultiDict(), unknown, 0) is ALLOWED_ADDRESS
    with pytest.raises(Refused) as caught:
        known.identify(STRANGER, CIMultiDict(), unknown, 0)
    assert caught.value.refusal is PRODUCER_REFUSED


def test_a_producer_may_publish_to_its_channels_alone() -> None:
    shop = Producer("shop", ("orders.**", "stock"))
    shop.check(["orders.eu", "orders.eu.north", "stock"])
    for channel in ("orders", "stock.eu", "prices"):
        with pytest.raises(Refused) as caught:
            shop.check(["stock", channel])
        assert caught.value.refusal is PUBLISHING_NOT_PERMITTED
        assert caught.value.detail == f"channel {channel!r}: not among the channels of producer 'shop'"


@pytest.mark.parametrize(
    ("allowed", "origin", "said"),
    [
        ([], STRANGER, "the setting `experience.entity.allow` names no network"),
        (
            ["192.0.2.0/24"],
            Origin(ALLOWED.address, proxied=True, unverified="an untrusted proxy"),
            "an untrusted proxy",
        ),
    ],
    ids=["no network", "unverified"],
)
def test_why_an_address_may_not_push(allowed: list[str], origin: Origin, said: str) -> None:
    assert said in refused(Producers({}, Networks(allowed), Budgets(1, 1, 100)), origin, CIMultiDict()).detail
