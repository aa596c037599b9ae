"""`POST` and `DELETE /consumers` on real sockets."""

import base64

import pytest

from services.experience_api.auth.clients import add_client
from tests.integration.services.experience_api.replicas import Deployment, Headers, Replica

DEMO = {"client_id": "demo", "client_secret": "demo"}


def basic(text: str) -> Headers:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    "headers",
    [
        DEMO,
        {"Client-Id": "demo", "Client-Secret": "demo"},
        basic("demo:demo"),
        {"Client_ID": "demo", "CLIENT_SECRET": "demo"},
    ],
)
async def test_a_client_registers_and_gets_its_token(replica: Replica, headers: Headers) -> None:
    response = await replica.request("POST", "/consumers", headers)
    assert response.status == 201
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    token = response.json["token"]
    assert response.json == {
        "client_id": "demo",
        "token": token,
        "token_type": "Bearer",
        "expires_after_days_disconnected": 30,
    }
    assert response.text.endswith('"expires_after_days_disconnected": 30}')
    async with replica.connect(token) as subscription:
        assert (await subscription.next())["type"] == "trelay.connected"


async def test_a_client_with_a_generated_secret_registers(replica: Replica) -> None:
    secret = await add_client(replica.registry, "shop", channels=["orders.*"])
    async with replica.connect(await replica.register("shop", secret)) as subscription:
        assert (await subscription.next())["data"]["channels"] == ["orders.*"]


async def test_every_wrong_credential_has_the_same_response(replica: Replica) -> None:
    await add_client(replica.registry, "disabled", secret="disabled")
    await replica.registry.disable("disabled")
    missing = await replica.request("POST", "/consumers")
    assert (missing.status, missing.code) == (401, "credentials-missing")
    assert "nginx" in missing.json["detail"]
    wrong: list[Headers] = [
        {"client_id": "demo"},
        {"client_id": "demo", "client_secret": "wrong"},
        {"client_id": "unknown", "client_secret": "demo"},
        {"client_id": "disabled", "client_secret": "disabled"},
        {"client_id": "demo", "client_secret": "trs_" + "x" * 43},
        basic("demo"),
        {"Authorization": "Basic %%%"},
    ]
    responses = [await replica.request("POST", "/consumers", headers) for headers in wrong]
    assert {response.status for response in responses} == {401}
    assert len({response.text for response in responses}) == 1
    assert {response.headers["WWW-Authenticate"] for response in responses} == {'Basic realm="trelay", charset="UTF-8"'}
    assert responses[0].headers["Content-Type"] == "application/problem+json"
    assert responses[0].code == "wrong-credentials"


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
async def test_a_loopback_only_client_is_accepted_from_the_loopback_only(
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
                await replica.request("POST", "/consumers", {**local, **headers}),
                await replica.request("DELETE", "/consumers", {**local, **headers}),
                await replica.upgrade(token, headers=headers),
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
            await replica.request("POST", "/consumers", local),
            await replica.request("DELETE", "/consumers", local),
            await replica.upgrade(token),
        ]
        assert [(answer.status, answer.code) for answer in answers] == [(403, "loopback-only")] * 3


async def test_repeated_wrong_credentials_are_refused(deployment: Deployment) -> None:
    async with deployment.replica({"registrations": {"failures": 3, "failures_per_second": 0.01}}) as replica:
        wrong = {"client_id": "demo", "client_secret": "wrong"}
        responses = [await replica.request("POST", "/consumers", wrong) for _ in range(4)]
        assert [response.status for response in responses] == [401, 401, 401, 429]
        assert responses[-1].code == "too-many-attempts"
        assert int(responses[-1].headers["Retry-After"]) >= 1


async def test_a_new_registration_closes_the_old_connection(replica: Replica) -> None:
    async with replica.connect(await replica.register()) as old:
        await old.next()
        token = await replica.register()
        assert (await old.closed())[0] == 4501
        async with replica.connect(token) as new:
            await new.next()


async def test_an_unregistered_consumer_is_closed_and_has_to_register_again(replica: Replica) -> None:
    token = await replica.register()
    async with replica.connect(token) as subscription:
        await subscription.next()
        response = await replica.request("DELETE", "/consumers", DEMO)
        assert (response.status, response.text) == (204, "")
        assert (await subscription.closed())[0] == 4503
    refused = await replica.upgrade(token)
    assert (refused.status, refused.code) == (401, "token-refused")
    assert (await replica.request("DELETE", "/consumers", DEMO)).status == 204
    await replica.register()


async def test_unregistering_requires_the_secret(replica: Replica) -> None:
    token = await replica.register()
    assert (await replica.request("DELETE", "/consumers", {"client_id": "demo", "client_secret": "x"})).status == 401
    async with replica.connect(token):
        pass


async def test_a_request_to_one_replica_takes_effect_on_another(deployment: Deployment) -> None:
    async with deployment.replica() as one, deployment.replica() as other:
        token = await other.register()
        async with one.connect(token) as subscription:
            await subscription.next()
            assert (await other.request("DELETE", "/consumers", DEMO)).status == 204
            assert (await subscription.closed())[0] == 4503
        token = await one.register()
        async with other.connect(token) as subscription:
            await subscription.next()
            assert await one.registry.disable("demo")
            assert (await subscription.closed())[0] == 4504


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH"])
async def test_another_method_is_not_allowed(replica: Replica, method: str) -> None:
    response = await replica.request(method, "/consumers", DEMO)
    assert response.status == 405
    assert sorted(response.headers["Allow"].split(",")) == ["DELETE", "POST"]
