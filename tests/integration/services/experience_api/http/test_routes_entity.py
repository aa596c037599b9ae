"""`POST /entity` on real sockets, up to the subscriber."""

import gzip
import json
from typing import Any

import pytest

from tests.integration.services.experience_api.replicas import Deployment, Headers, Replica

STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
JSON = {"Content-Type": "application/json"}


def event(number: int, **more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"n-{number}",
        "source": "/shop",
        "type": "order.updated",
        "channel": "orders",
        "data": {"number": number},
        **more,
    }


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


async def test_every_mode_reaches_the_subscriber_in_order(replica: Replica) -> None:
    binary = {
        "Content-Type": "text/plain",
        "ce-specversion": "1.0",
        "ce-id": "n-4",
        "ce-source": "/shop",
        "ce-type": "note",
        "ce-channel": "orders",
        "ce-subject": "%E2%82%AC",
    }
    async with replica.connect(await replica.register()) as subscription:
        await subscription.next()
        pushed: list[tuple[str, Headers, bytes, list[str]]] = [
            ("/entity", STRUCTURED, dumped(event(1)), ["n-1"]),
            ("/entity", BATCH, dumped([event(2), event(3)]), ["n-2", "n-3"]),
            ("/entity", binary, b"a note", ["n-4"]),
        ]
        for path, headers, body, ids in pushed:
            response = await replica.request("POST", path, headers, body)
            assert (response.status, response.json) == (202, {"accepted": len(ids), "ids": ids})
        response = await replica.request("POST", "/entity?channel=orders&subject=s&type=t", JSON, b'{"number": 5}')
        assert (response.status, response.json["accepted"]) == (202, 1)
        events = [await subscription.next() for _ in range(5)]
    assert [found["id"] for found in events] == ["n-1", "n-2", "n-3", "n-4", response.json["ids"][0]]
    assert events[3]["subject"] == "€"
    assert events[3]["data_base64"] == "YSBub3Rl"
    assert (events[4]["subject"], events[4]["type"], events[4]["data"]) == ("s", "t", {"number": 5})


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "code", "detail"),
    [
        ("/entity", STRUCTURED, b"{", 400, "malformed", "not JSON"),
        ("/entity", STRUCTURED, b'{"id":"\xff"}', 400, "malformed", "not JSON"),
        ("/entity", STRUCTURED, b"[" * 200_000, 400, "malformed", "not JSON"),
        ("/entity", STRUCTURED, dumped(event(1, channel=None)), 400, "malformed", "'channel': missing"),
        ("/entity", STRUCTURED, dumped(event(1, type="")), 400, "malformed", "'type'"),
        ("/entity", BATCH, dumped([event(1), event(2, id=7)]), 400, "malformed", "event 1: attribute 'id'"),
        ("/entity", BATCH, dumped([event(1)] * 1001), 413, "too-large", "1001 events; the limit is 1000"),
        ("/entity", JSON, b"{}", 400, "malformed", "'channel': missing"),
        ("/entity?channel=a&chanel=b", JSON, b"{}", 400, "malformed", "'chanel'"),
        ("/entity?channel=a", {"Content-Type": "text/csv"}, b"a,b", 415, "unsupported-type", "text/csv"),
        ("/entity?channel=a", JSON, b" " * 1_048_576 + b"1", 413, "too-large", "exceeds the limit of 1048576 bytes"),
    ],
)
async def test_an_invalid_push_is_refused_and_its_fault_named(
    replica: Replica, path: str, headers: Headers, body: bytes, status: int, code: str, detail: str
) -> None:
    response = await replica.request("POST", path, headers, body)
    assert (response.status, response.code) == (status, code)
    assert detail in response.json["detail"]
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json.get("event") == (1 if "event 1" in detail else None)


async def test_no_event_of_a_refused_batch_is_accepted(replica: Replica) -> None:
    async with replica.connect(await replica.register()) as subscription:
        await subscription.next()
        assert (await replica.request("POST", "/entity", BATCH, dumped([event(1), {}]))).status == 400
        await replica.push("orders", 7)
        assert (await subscription.next())["data"] == {"number": 7}


async def test_a_body_that_decompresses_above_the_limit_is_refused(replica: Replica) -> None:
    packed = gzip.compress(b" " * 50_000_000 + b"1")
    response = await replica.request("POST", "/entity?channel=a", {**JSON, "Content-Encoding": "gzip"}, packed)
    assert response.status in {400, 413}
    await replica.push("orders", 1)


@pytest.mark.parametrize(
    ("allow", "headers", "status"),
    [
        (["127.0.0.0/8"], {}, 202),
        (["192.0.2.0/24"], {}, 403),
        ([], {}, 403),
        (["192.0.2.0/24"], {"X-Forwarded-For": "192.0.2.1"}, 403),
        (["192.0.2.0/24"], {"Forwarded": "for=192.0.2.1", "X-Real-IP": "192.0.2.1", "Client-IP": "192.0.2.1"}, 403),
        (["::ffff:127.0.0.0/104"], {}, 202),
        (["::ffff:192.0.2.0/120"], {}, 403),
        (["127.0.0.0/8"], {"X-Forwarded-For": "203.0.113.9"}, 403),
        (["127.0.0.0/8"], {"X-Forwarded-For": "127.0.0.1"}, 403),
        (["127.0.0.0/8"], {"Forwarded": "for=203.0.113.9"}, 403),
        (["127.0.0.0/8"], {"Via": "1.1 nginx"}, 403),
        (["127.0.0.0/8"], {"X-Forwarded-Proto": "https"}, 403),
        (["127.0.0.0/8"], {"CF-Connecting-IP": "203.0.113.9"}, 403),
        (["0.0.0.0/0", "::/0"], {"True-Client-IP": "127.0.0.1"}, 403),
    ],
)
async def test_only_the_allow_list_may_push_with_any_headers(
    deployment: Deployment, allow: list[str], headers: Headers, status: int
) -> None:
    async with deployment.replica({"entity": {"allow": allow}}) as replica:
        response = await replica.request("POST", "/entity?channel=a", {**JSON, **headers}, b"{}")
        assert response.status == status
        if status == 403:
            assert response.code == "address-not-allowed"


@pytest.mark.parametrize("headers", [{}, {"X-Forwarded-For": "203.0.113.9"}, {"Via": "1.1 nginx"}])
async def test_by_default_nothing_may_be_pushed(deployment: Deployment, headers: Headers) -> None:
    async with deployment.replica({"entity": {}}) as replica:
        answer = await replica.request("POST", "/entity?channel=a", {**JSON, **headers}, b"{}")
        assert (answer.status, answer.code) == (403, "address-not-allowed")
        assert "experience.entity.allow" in answer.json["detail"]


async def test_behind_trusted_proxies_a_peer_that_none_of_them_named_may_not_push(deployment: Deployment) -> None:
    options = {"trusted_proxies": ["127.0.0.1"], "entity": {"allow": ["127.0.0.0/8"]}}
    async with deployment.replica(options) as replica:
        answer = await replica.request("POST", "/entity?channel=a", JSON, b"{}")
        assert (answer.status, answer.code) == (403, "address-not-allowed")
        assert "no trusted proxy" in answer.json["detail"]


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        ("192.0.2.1", 202),
        ("198.51.100.9, 192.0.2.1", 403),
        ("192.0.2.1, 198.51.100.9", 403),
        ("192.0.2.1, 127.0.0.1", 202),
        ("192.0.2.1, nonsense", 403),
        ("::ffff:192.0.2.1", 202),
    ],
)
async def test_a_trusted_proxy_is_trusted_for_the_addresses_it_has_seen(
    deployment: Deployment, forwarded: str, status: int
) -> None:
    options = {"trusted_proxies": ["127.0.0.1"], "entity": {"allow": ["192.0.2.0/24"]}}
    async with deployment.replica(options) as replica:
        headers = {**JSON, "X-Forwarded-For": forwarded}
        assert (await replica.request("POST", "/entity?channel=a", headers, b"{}")).status == status
