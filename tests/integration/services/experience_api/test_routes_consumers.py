"""`POST` and `DELETE /consumers` on real sockets."""

import base64

import pytest

from services.experience_api.clients import add_client
from tests.integration.services.experience_api.replicas import Deployment, Headers, Replica

DEMO = {"client_id": "demo", "client_secret": "demo"}


def basic(text: str) -> Headers:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize("headers", [DEMO, basic("demo:demo"), {"Client_ID": "demo", "CLIENT_SECRET": "demo"}])
async def test_a_client_registers_and_is_told_its_token(replica: Replica, headers: Headers) -> None:
    answer = await replica.ask("POST", "/consumers", headers)
    assert answer.status == 201
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    token = answer.json["token"]
    assert answer.json == {
        "client_id": "demo",
        "token": token,
        "token_type": "Bearer",
        "expires_after_days_disconnected": 30,
    }
    assert answer.text.endswith('"expires_after_days_disconnected": 30}')
    async with replica.connect(token) as subscription:
        assert (await subscription.next())["type"] == "trelay.connected"


async def test_a_client_with_a_generated_secret_registers(replica: Replica) -> None:
    secret = await add_client(replica.registry, "shop", channels=["orders.*"])
    async with replica.connect(await replica.register("shop", secret)) as subscription:
        assert (await subscription.next())["data"]["channels"] == ["orders.*"]


async def test_whatever_is_wrong_is_answered_alike(replica: Replica) -> None:
    await add_client(replica.registry, "gone", secret="gone")
    await replica.registry.disable("gone")
    wrong: list[Headers] = [
        {},
        {"client_id": "demo"},
        {"client_id": "demo", "client_secret": "wrong"},
        {"client_id": "nobody", "client_secret": "demo"},
        {"client_id": "gone", "client_secret": "gone"},
        {"client_id": "demo", "client_secret": "trs_" + "x" * 43},
        basic("demo"),
        {"Authorization": "Basic %%%"},
    ]
    answers = [await replica.ask("POST", "/consumers", headers) for headers in wrong]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {'Basic realm="trelay", charset="UTF-8"'}
    assert answers[0].headers["Content-Type"] == "application/problem+json"
    assert answers[0].code == "wrong-credentials"


PROXY_HEADERS: list[Headers] = [
    {"X-Forwarded-For": "192.0.2.1"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"Forwarded": "for=192.0.2.1"},
    {"Via": "1.1 nginx"},
    {"X-Forwarded-Proto": "https"},
    {"X-Forwarded-Host": "relay.example.com"},
    {"CF-Connecting-IP": "192.0.2.1"},
    {"True-Client-IP": "192.0.2.1"},
]


@pytest.mark.parametrize("proxies", [[], ["127.0.0.1"]])
async def test_a_client_for_the_loopback_is_accepted_from_there_only(
    deployment: Deployment, proxies: list[str]
) -> None:
    async with deployment.replica() as direct:
        await add_client(direct.registry, "local", secret="local", loopback_only=True)
        token = await direct.register("local", "local")
        async with direct.connect(token):
            pass
    local = {"client_id": "local", "client_secret": "local"}
    async with deployment.replica({"trusted_proxies": proxies}) as replica:
        for headers in PROXY_HEADERS:
            answers = [
                await replica.ask("POST", "/consumers", {**local, **headers}),
                await replica.ask("DELETE", "/consumers", {**local, **headers}),
                await replica.knock(token, headers=headers),
            ]
            assert [(answer.status, answer.code) for answer in answers] == [(403, "loopback-only")] * 3, headers
        # Still the token of before: nothing of that took effect.
        if not proxies:
            async with replica.connect(token):
                pass


async def test_behind_a_trusted_proxy_that_adds_no_header_nothing_is_the_loopback(deployment: Deployment) -> None:
    async with deployment.replica() as direct:
        await add_client(direct.registry, "local", secret="local", loopback_only=True)
        token = await direct.register("local", "local")
    local = {"client_id": "local", "client_secret": "local"}
    async with deployment.replica({"trusted_proxies": ["127.0.0.1"]}) as replica:
        answers = [
            await replica.ask("POST", "/consumers", local),
            await replica.ask("DELETE", "/consumers", local),
            await replica.knock(token),
        ]
        assert [(answer.status, answer.code) for answer in answers] == [(403, "loopback-only")] * 3


async def test_guessing_is_slowed_down(deployment: Deployment) -> None:
    async with deployment.replica({"registrations": {"failures": 3, "failures_per_second": 0.01}}) as replica:
        wrong = {"client_id": "demo", "client_secret": "wrong"}
        answers = [await replica.ask("POST", "/consumers", wrong) for _ in range(4)]
        assert [answer.status for answer in answers] == [401, 401, 401, 429]
        assert answers[-1].code == "too-many-attempts"
        assert int(answers[-1].headers["Retry-After"]) >= 1


async def test_a_new_registration_closes_the_old_connection(replica: Replica) -> None:
    async with replica.connect(await replica.register()) as old:
        await old.next()
        token = await replica.register()
        assert (await old.closed())[0] == 4501
        async with replica.connect(token) as new:
            await new.next()


async def test_a_forgotten_consumer_is_closed_and_has_to_register_again(replica: Replica) -> None:
    token = await replica.register()
    async with replica.connect(token) as subscription:
        await subscription.next()
        answer = await replica.ask("DELETE", "/consumers", DEMO)
        assert (answer.status, answer.text) == (204, "")
        assert (await subscription.closed())[0] == 4503
    refused = await replica.knock(token)
    assert (refused.status, refused.code) == (401, "token-refused")
    assert (await replica.ask("DELETE", "/consumers", DEMO)).status == 204
    await replica.register()


async def test_forgetting_needs_the_secret(replica: Replica) -> None:
    token = await replica.register()
    assert (await replica.ask("DELETE", "/consumers", {"client_id": "demo", "client_secret": "x"})).status == 401
    async with replica.connect(token):
        pass


async def test_what_one_replica_is_told_another_does(deployment: Deployment) -> None:
    async with deployment.replica() as one, deployment.replica() as other:
        token = await other.register()
        async with one.connect(token) as subscription:
            await subscription.next()
            assert (await other.ask("DELETE", "/consumers", DEMO)).status == 204
            assert (await subscription.closed())[0] == 4503
        token = await one.register()
        async with other.connect(token) as subscription:
            await subscription.next()
            assert await one.registry.disable("demo")
            assert (await subscription.closed())[0] == 4504


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH"])
async def test_another_method_is_not_allowed(replica: Replica, method: str) -> None:
    answer = await replica.ask(method, "/consumers", DEMO)
    assert answer.status == 405
    assert sorted(answer.headers["Allow"].split(",")) == ["DELETE", "POST"]
