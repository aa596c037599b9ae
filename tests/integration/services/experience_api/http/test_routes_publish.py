"""`/ws/publish` on real sockets: which requests are admitted, and which are refused."""

import asyncio
import json
import string
from typing import Any

import pytest

from services.experience_api.auth.clients import add_client
from services.experience_api.auth.tokens import Tokens
from services.experience_api.registry.tokens import SigningKey
from shared.bus.protocol import Record
from tests.integration.services.experience_api.replicas import Deployment, Headers, Replica

UNLIMITED = {"handshakes": {"failures": 100_000}}
CIPHER = string.ascii_letters + string.digits + "-_"


async def test_events_arrive_after_the_first_frame(replica: Replica) -> None:
    async with replica.connect(await replica.register()) as subscription:
        first = await subscription.next()
        assert first["type"] == "trelay.connected"
        assert first["source"] == "/trelay"
        await replica.push("orders.eu", 1, 2)
        for number in (1, 2):
            event = await subscription.next()
            assert event["data"] == {"number": number}
            assert event["channel"] == "orders.eu"
            assert event["cursor"]


async def test_channels_narrow_and_a_cursor_resumes(replica: Replica) -> None:
    token = await replica.register()
    async with replica.connect(token, path="/ws/publish?channels=orders.*,prices") as subscription:
        assert sorted((await subscription.next())["data"]["channels"]) == ["orders.*", "prices"]
        await replica.push("other", 0)
        await replica.push("prices", 1)
        first = await subscription.next()
        assert first["channel"] == "prices"
    await replica.push("prices", 2)
    async with replica.connect(token, path=f"/ws/publish?cursor={first['cursor']}") as subscription:
        await subscription.next()
        assert (await subscription.next())["data"] == {"number": 2}


async def test_a_token_is_accepted_in_every_supported_header(replica: Replica) -> None:
    token = await replica.register()
    ways: list[dict[str, Any]] = [
        {"headers": {"Authorization": f"bearer {token}"}},
        {"headers": {"token": token, "client_id": "demo"}},
        {"protocols": ("cloudevents.json", f"bearer.{token}")},
    ]
    for way in ways:
        async with replica.connect(**way) as subscription:
            assert (await subscription.next())["type"] == "trelay.connected"
            assert subscription.socket.protocol == ("cloudevents.json" if "protocols" in way else None)


async def test_a_token_that_is_offered_as_a_subprotocol_alone_is_refused_and_not_logged(
    replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    token = await replica.register()
    response = await replica.upgrade(headers={"Sec-WebSocket-Protocol": f"bearer.{token}"})
    assert (response.status, response.code) == (400, "malformed")
    assert "cloudevents.json" in response.json["detail"]
    assert token not in caplog.text


async def test_a_second_connection_is_refused_while_the_first_lives(replica: Replica) -> None:
    token = await replica.register()
    async with replica.connect(token) as first, asyncio.TaskGroup() as group:
        await first.next()
        event = group.create_task(first.next())  # a client answers pings while it reads
        for _ in range(3):
            response = await replica.upgrade(token)
            assert (response.status, response.code) == (409, "already-connected")
        await replica.push("orders", 1)
        assert (await event)["data"] == {"number": 1}
    async with replica.connect(token) as again:
        await again.next()


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "token-missing"),
        ({"Authorization": "Bearer"}, 401, "token-refused"),
        ({"Authorization": "Bearer a.b.c"}, 401, "token-refused"),
        ({"Authorization": "Basic ZGVtbzpkZW1v"}, 401, "token-missing"),
        ({"token": "a.b.c"}, 401, "token-missing"),
        ({"Authorization": "Bearer " + "x" * 5000}, 401, "token-refused"),
    ],
)
async def test_a_request_without_a_genuine_token_is_refused(
    replica: Replica, headers: Headers, status: int, code: str
) -> None:
    response = await replica.upgrade(headers=headers)
    assert (response.status, response.code) == (status, code)
    assert response.headers["WWW-Authenticate"].startswith('Bearer realm="trelay"')
    assert response.headers["Content-Type"] == "application/problem+json"


async def test_a_token_with_an_altered_character_is_refused(deployment: Deployment) -> None:
    """At every position, replaced by the next character of the alphabet."""
    async with deployment.replica(UNLIMITED) as replica:
        token = await replica.register()
        for position, was in enumerate(token):
            other = CIPHER[(CIPHER.find(was) + 1) % len(CIPHER)]
            response = await replica.upgrade(token[:position] + other + token[position + 1 :])
            assert (response.status, response.code) == (401, "token-refused"), f"position {position}"
        async with replica.connect(token) as subscription:
            await subscription.next()


async def test_a_token_of_another_client_or_another_signer_is_refused(replica: Replica) -> None:
    token = await replica.register()
    response = await replica.upgrade(headers={"token": token, "client_id": "other"})
    assert (response.status, response.code) == (401, "token-refused")
    forged = Tokens([SigningKey("database", b"x" * 32)]).issue("demo", 0).token
    assert (await replica.upgrade(forged)).status == 401


async def test_a_token_expires_some_days_after_the_last_connection(deployment: Deployment) -> None:
    async with deployment.replica({"tokens": {"expires_after_days_disconnected": 0.5}}) as replica:
        token = await replica.register()
        await deployment.expire_tokens()
        response = await replica.upgrade(token)
        assert (response.status, response.code) == (401, "token-expired")
        assert "register again" in response.json["detail"]
        async with replica.connect(await replica.register()) as subscription:
            await subscription.next()


async def test_keys_of_the_settings_can_be_rotated(deployment: Deployment) -> None:
    old, new = {"id": "2025", "secret": "o" * 32}, {"id": "2026", "secret": "n" * 32}
    async with deployment.replica({"tokens": {"keys": [old]}}) as replica:
        token = await replica.register()
    async with deployment.replica({"tokens": {"keys": [new, old]}}) as replica, replica.connect(token):
        pass
    async with deployment.replica({"tokens": {"keys": [new]}}) as replica:
        assert (await replica.upgrade(token)).code == "token-refused"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?channels=secret", 403, "channel-not-permitted"),
        ("?channels=orders.eu,secret.*", 403, "channel-not-permitted"),
        ("?channels=a%00b", 400, "malformed"),
        ("?channels=a%0D%0AX:y", 400, "malformed"),
        ("?chanels=orders.eu", 400, "malformed"),
    ],
)
async def test_a_refused_parameter_is_named(replica: Replica, query: str, status: int, code: str) -> None:
    secret = await add_client(replica.registry, "shop", channels=["orders.**"])
    token = await replica.register("shop", secret)
    response = await replica.upgrade(token, query=query)
    assert (response.status, response.code) == (status, code)
    async with replica.connect(token) as subscription:
        await subscription.next()


async def test_a_malformed_cursor_is_a_gap_and_no_refusal(replica: Replica) -> None:
    async with replica.connect(await replica.register(), path="/ws/publish?cursor=%00") as subscription:
        assert (await subscription.next())["type"] == "trelay.connected"
        assert (await subscription.next())["type"] == "trelay.gap"


async def test_a_plain_request_requires_an_upgrade(replica: Replica) -> None:
    response = await replica.request("GET", "/ws/publish", {"Authorization": f"Bearer {await replica.register()}"})
    assert (response.status, response.code) == (426, "upgrade-required")
    assert response.headers["Upgrade"] == "websocket"


async def test_another_websocket_version_is_refused(replica: Replica) -> None:
    response = await replica.upgrade(await replica.register(), headers={"Sec-WebSocket-Version": "12"})
    assert (response.status, response.code) == (426, "upgrade-required")
    assert response.headers["Sec-WebSocket-Version"] == "13"


async def test_a_disabled_client_is_refused(replica: Replica) -> None:
    token = await replica.register()
    await replica.registry.disable("demo")
    response = await replica.upgrade(token)
    assert (response.status, response.code) == (403, "client-disabled")


async def test_too_many_failures_are_refused_with_a_time_to_wait(deployment: Deployment) -> None:
    async with deployment.replica({"handshakes": {"failures": 2, "failures_per_second": 0.01}}) as replica:
        responses = [await replica.upgrade("a.b.c") for _ in range(3)]
        assert [response.status for response in responses] == [401, 401, 429]
        assert int(responses[-1].headers["Retry-After"]) >= 1


async def test_a_consumer_that_sends_is_closed_logged_and_alerted(
    replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    token = await replica.register()
    async with replica.connect(token) as subscription:
        await subscription.next()
        await subscription.socket.send_str("hello")
        assert (await subscription.next())["type"] == "trelay.refused"
        assert (await subscription.closed())[0] == 4500
    assert [(told.kind, told.place) for told in replica.alerts.calls] == [("send refused", "client demo")]
    assert any(vars(record).get("client_id") == "demo" for record in caplog.records)
    async with replica.connect(token) as again:
        await again.next()


def event_id(record: Record) -> str:
    return str(json.loads(record.value or b"")["id"])


async def test_a_client_that_may_send_reaches_the_inbound_topic(replica: Replica, deployment: Deployment) -> None:
    secret = await add_client(replica.registry, "sensor", may_send=True)
    token = await replica.register("sensor", secret)
    bounds = await deployment.bus.bounds("trelay.inbound")
    async with (
        deployment.bus.reader("trelay.inbound", {number: end for number, (_, end) in bounds.items()}) as reader,
        replica.connect(token) as subscription,
    ):
        await subscription.next()
        await subscription.socket.send_str('{"reading": 7}')
        (record,) = await reader.read(wait=20)
        told = await subscription.next()
        assert (told["type"], told["data"]) == ("trelay.accepted", {"message": 1, "event": event_id(record)})
        message = '{"type": "trelay.message", "id": "m-1", "data": %d}'
        for number in (1, 1, 2):
            await subscription.socket.send_str(message % number)
        answers = [await subscription.next() for _ in range(3)]
        await subscription.socket.send_bytes(b"\xff")
        found = [*await reader.read(wait=20), *await reader.read(wait=20)]
    assert record.key == b"sensor"
    assert b'"data":{"reading":7}' in (record.value or b"")
    assert [b'"data":1' in (found[0].value or b""), b'"data_base64":"/w=="' in (found[1].value or b"")] == [True, True]
    assert [(told["type"], told["data"]["message"], told["data"]["id"]) for told in answers] == [
        ("trelay.accepted", 2, "m-1"),
        ("trelay.accepted", 3, "m-1"),
        ("trelay.rejected", 4, "m-1"),
    ]
    assert answers[0]["data"]["event"] == answers[1]["data"]["event"] == event_id(found[0])
    assert answers[2]["data"]["code"] == "idempotency-key-reused"
    assert replica.alerts.calls == []
