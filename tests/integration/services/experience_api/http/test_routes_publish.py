"""`/ws/publish` on real sockets: which requests are admitted, and which are refused."""

import asyncio
import string
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from services.experience_api.auth.clients import add_client
from services.experience_api.auth.tokens import Tokens
from services.experience_api.registry.tokens import SigningKey
from tests.integration.services.experience_api.replicas import Deployment, Headers, Replica

UNLIMITED = {"handshakes": {"failures": 100_000}}
RECONCILING = {"connections": {"reconcile_interval": 0.1}}
CIPHER = string.ascii_letters + string.digits + "-_"


async def expire_tokens(deployment: Deployment) -> None:
    """Move the last connection of every consumer to long ago."""
    async with deployment.sql() as database:
        await database.execute("UPDATE trelay.consumers SET last_seen_at = '2000-01-01'")


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
        await expire_tokens(deployment)
        response = await replica.upgrade(token)
        assert (response.status, response.code) == (401, "token-expired")
        assert "register again" in response.json["detail"]
        async with replica.connect(await replica.register()) as subscription:
            await subscription.next()


def browser(token: str) -> dict[str, Any]:
    """Send the token as a script in a browser does, which can read a close code but no HTTP status."""
    return {"protocols": ("cloudevents.json", f"bearer.{token}")}


async def test_a_browser_gets_a_close_code_for_a_refused_token(replica: Replica) -> None:
    old = await replica.register()
    token = await replica.register()
    for refused in (old, "a.b.c", token[:-1] + "AE"[token[-1] == "A"]):
        async with replica.connect(**browser(refused)) as subscription:
            assert await subscription.closed() == (4505, "token refused")
    async with replica.connect(**browser(token)) as subscription:
        await subscription.next()
    await replica.registry.unregister("demo")
    async with replica.connect(**browser(token)) as subscription:
        assert await subscription.closed() == (4505, "token refused")
    await replica.register()
    await replica.registry.disable("demo")
    async with replica.connect(**browser(token)) as subscription:
        assert await subscription.closed() == (
            4505,
            "token refused",
        )  # of another registration: checked first


async def test_a_browser_gets_a_close_code_for_a_disabled_client(replica: Replica) -> None:
    token = await replica.register()
    await replica.registry.disable("demo")
    async with replica.connect(**browser(token)) as subscription:
        assert await subscription.closed() == (4504, "client disabled")


async def test_a_browser_gets_a_close_code_for_an_expired_token(replica: Replica, deployment: Deployment) -> None:
    token = await replica.register()
    await expire_tokens(deployment)
    async with replica.connect(**browser(token)) as subscription:
        assert await subscription.closed() == (4506, "token expired")
    text = (await replica.request("GET", "/metrics")).text
    assert 'trelay_experience_handshakes_total{outcome="token_expired"} 1.0' in text


async def test_a_browser_that_fails_too_often_is_refused_before_the_upgrade(deployment: Deployment) -> None:
    async with deployment.replica({"handshakes": {"failures": 2, "failures_per_second": 0.01}}) as replica:
        for _ in range(2):
            async with replica.connect(**browser("a.b.c")) as subscription:
                assert (await subscription.closed())[0] == 4505
        with pytest.raises(WSServerHandshakeError, match="429"):
            async with replica.connect(**browser("a.b.c")):
                pytest.fail("admitted")


async def test_a_browser_that_does_not_answer_the_close_frame_is_dropped(replica: Replica) -> None:
    protocols = "cloudevents.json, bearer.a.b.c"
    response = await asyncio.wait_for(replica.upgrade(headers={"Sec-WebSocket-Protocol": protocols}), 30)
    assert response.status == 101


async def test_a_live_connection_is_closed_when_its_token_is_no_longer_valid(deployment: Deployment) -> None:
    """A change made by hand in the database sends no notice."""
    async with deployment.replica(RECONCILING) as replica, deployment.sql() as database:
        async with replica.connect(await replica.register()) as subscription:
            await subscription.next()
            await database.execute("DELETE FROM trelay.consumers")
            assert await subscription.closed() == (4505, "token refused")
        async with replica.connect(await replica.register()) as subscription:
            await subscription.next()
            await database.execute("DELETE FROM trelay.connections; UPDATE trelay.clients SET disabled = true")
            assert await subscription.closed() == (4504, "client disabled")


async def test_a_lost_claim_closes_with_the_code_of_an_expired_token(
    deployment: Deployment,
) -> None:
    """As after a database was restored from an old backup."""
    async with (
        deployment.replica(RECONCILING) as replica,
        deployment.sql() as database,
        replica.connect(await replica.register()) as subscription,
    ):
        await subscription.next()
        await database.execute(
            "UPDATE trelay.consumers SET last_seen_at = '2000-01-01'; DELETE FROM trelay.connections"
        )
        assert await subscription.closed() == (4506, "token expired")


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
    assert record.key == b"sensor"
    assert b'"data":{"reading":7}' in (record.value or b"")
    assert replica.alerts.calls == []
