"""Channels that change while a connection lives: by `POST /subscriptions`, and by what its client may read."""

import json
from typing import Any

import pytest

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.clients import ClientChange
from tests.integration.services.experience_api.replicas import (
    JSON,
    Deployment,
    Replica,
    ReplicaClient,
    Response,
    Subscription,
)


async def changed(client: ReplicaClient, token: str, connection: str, **fields: list[str]) -> Response:
    body = json.dumps({"connection": connection, **fields}).encode()
    return await client.request("POST", "/subscriptions", JSON | {"Authorization": f"Bearer {token}"}, body)


async def ticket_of(client: ReplicaClient, token: str) -> str:
    response = await client.request("POST", "/tickets", {"Authorization": f"Bearer {token}"})
    return str(response.json["ticket"])


async def begun(subscription: Subscription) -> str:
    """Return the id of the connection."""
    return str((await subscription.next())["data"]["connection"])


async def numbers(subscription: Subscription, count: int) -> list[int]:
    return [(await subscription.next())["data"]["number"] for _ in range(count)]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
async def test_a_living_connection_subscribes_and_unsubscribes(deployment: Deployment, elsewhere: bool) -> None:
    async with deployment.replica() as one, deployment.replica() as two:
        asked = two if elsewhere else one
        token = await one.register()
        async with one.connect(token, path="/ws/publish?channels=a") as subscription:
            connection = await begun(subscription)
            await one.push("b", 1)
            await one.push("a", 2)
            assert await numbers(subscription, 1) == [2]
            answer = await changed(asked, token, connection, subscribe=["b"])
            assert answer.status == 200, answer
            assert answer.json["channels"] == ["a", "b"]
            told = await subscription.next()
            assert (told["type"], told["data"]) == (
                "trelay.subscribed",
                {"channels": ["a", "b"], "reason": "requested"},
            )
            assert told["cursor"] == answer.json["cursor"]
            await one.push("b", 3)
            await one.push("a", 4)
            assert sorted(await numbers(subscription, 2)) == [3, 4]
            await changed(asked, token, connection, unsubscribe=["a"])
            assert (await subscription.next())["data"]["channels"] == ["b"]
            await one.push("a", 5)
            await one.push("b", 6)
            assert await numbers(subscription, 1) == [6]
            many = [f"user.{number:06}.inbox" for number in range(900)]  # some 20 KB
            assert (await changed(asked, token, connection, channels=many)).json["channels"] == many
            told = await subscription.next()
            assert told["data"]["channels"] == many
            await one.push(many[-1], 7)
            assert await numbers(subscription, 1) == [7]
        await deployment.until_no_connection()
        path = f"/ws/publish?channels={','.join(many)}&cursor={told['cursor']}"
        async with one.connect(token, path=path) as subscription:
            assert (await subscription.next())["data"]["channels"] == many
            assert await numbers(subscription, 1) == [7], "it resumes with all of them"


async def test_a_connection_that_catches_up_changes_without_loss(deployment: Deployment) -> None:
    async with deployment.replica({"delivery": {"history": {"limit_bytes": 1024}}}) as replica:
        token = await replica.register()
        await replica.push("a", *range(200))
        await replica.push("b", *range(200))
        async with replica.connect(token, path="/ws/publish?channels=a&since=earliest") as subscription:
            connection = await begun(subscription)
            answer = await changed(replica, token, connection, subscribe=["b"])
            assert answer.status == 200, answer
            await replica.push("a", 200)
            await replica.push("b", 200)
            found: list[dict[str, Any]] = []
            while not {("a", 200), ("b", 200)} <= {(each.get("channel"), each["data"].get("number")) for each in found}:
                found.append(await subscription.next())
            assert [each["data"]["number"] for each in found if each.get("channel") == "a"] == list(range(201))
            (told,) = [place for place, each in enumerate(found) if each["type"] == "trelay.subscribed"]
            others = [each["data"]["number"] for each in found if each.get("channel") == "b"]
            assert others == list(range(201))[-len(others) :]
            assert all(each.get("channel") != "b" for each in found[:told])


async def test_a_page_changes_its_connection_with_a_ticket(deployment: Deployment) -> None:
    async with deployment.replica() as one, deployment.replica() as two:
        secret = await add_client(one.registry, "shop")
        token, other = await one.register(), await one.register("shop", secret)
        async with one.connect(token, path="/ws/publish?channels=a") as subscription:
            connection = await begun(subscription)
            ticket, foreign = await ticket_of(one, token), await ticket_of(one, other)
            body = json.dumps({"connection": connection, "subscribe": ["b"]}).encode()
            path = f"/subscriptions?ticket={ticket}"
            malformed = await two.request("POST", path, JSON, b"{}")
            assert (malformed.status, malformed.code) == (400, "malformed"), "which leaves the ticket"
            assert (await two.request("POST", path, JSON, body)).json["channels"] == ["a", "b"]
            assert (await subscription.next())["data"]["channels"] == ["a", "b"]
            again = await one.request("POST", path, JSON, body)
            assert (again.status, again.code) == (401, "ticket-refused")
            refused = await one.request("POST", f"/subscriptions?ticket={foreign}", JSON, body)
            assert (refused.status, refused.code) == (404, "not-connected")


async def test_changes_that_cannot_be_made_are_refused(deployment: Deployment) -> None:
    async with deployment.replica() as one, deployment.replica() as two:
        secret = await add_client(one.registry, "shop", channels=["orders.*"])
        token, other = await one.register("shop", secret), await one.register()
        async with one.connect(token) as subscription:
            connection = await begun(subscription)
            for replica in (one, two):
                refused = [
                    await changed(replica, token, connection, subscribe=["prices"]),
                    await changed(replica, token, connection, unsubscribe=["orders.eu"]),
                    await changed(replica, other, connection, subscribe=["orders.eu"]),
                    await changed(replica, token, "00000000-0000-0000-0000-000000000000", subscribe=["orders.eu"]),
                    await changed(replica, token + "x", connection, subscribe=["orders.eu"]),
                ]
                assert [(each.status, each.code) for each in refused] == [
                    (403, "channel-not-permitted"),
                    (400, "malformed"),
                    (404, "not-connected"),
                    (404, "not-connected"),
                    (401, "token-refused"),
                ]


async def test_what_a_client_may_read_changes_on_a_living_connection(deployment: Deployment) -> None:
    async with deployment.replica() as one, deployment.replica() as two:
        secret = await add_client(one.registry, "shop", channels=["orders.*", "prices"])
        token = await one.register("shop", secret)
        async with one.connect(token) as subscription:
            await begun(subscription)
            assert await two.registry.change("shop", ClientChange(channels=("prices",)))
            told = await subscription.next()
            assert (told["type"], told["data"]) == ("trelay.subscribed", {"channels": ["prices"], "reason": "granted"})
            await one.push("orders.eu", 1)
            await one.push("prices", 2)
            assert await numbers(subscription, 1) == [2]
            assert await two.registry.change("shop", ClientChange(channels=("orders.*",)))
            assert (await subscription.next())["data"]["channels"] == ["orders.*"]
            await one.push("prices", 3)
            await one.push("orders.eu", 4)
            assert await numbers(subscription, 1) == [4]


async def test_a_grant_that_was_changed_by_hand_is_found(deployment: Deployment) -> None:
    async with (
        deployment.replica({"connections": {"reconcile_interval": 0.1}}) as replica,
        deployment.sql() as database,
        replica.connect(await replica.register()) as subscription,
    ):
        await begun(subscription)
        await database.execute("UPDATE trelay.clients SET channels = '{prices}'")
        assert (await subscription.next())["data"] == {"channels": ["prices"], "reason": "granted"}


async def test_an_event_stream_changes_as_well(replica: Replica) -> None:
    token = await replica.register()
    headers = {"Authorization": f"Bearer {token}"}
    async with replica.http.get(replica.url + "/sse/publish?channels=a", headers=headers) as stream:

        async def data() -> dict[str, Any]:
            while not (line := (await stream.content.readline()).decode()).startswith("data: "):
                pass
            found: dict[str, Any] = json.loads(line.removeprefix("data: "))
            return found

        connection = (await data())["data"]["connection"]
        assert (await changed(replica, token, connection, channels=["b"])).status == 200
        assert (await data())["type"] == "trelay.subscribed"
        await replica.push("a", 1)
        await replica.push("b", 2)
        assert (await data())["data"] == {"number": 2}
