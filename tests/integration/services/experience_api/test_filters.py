"""Filters over all ways in which a subscriber is served: living, from memory, from the log, over HTTP."""

import json
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from tests.integration.services.experience_api.http.test_long_polling import poll
from tests.integration.services.experience_api.http.test_subscribers import stream
from tests.integration.services.experience_api.replicas import JSON, Deployment, Replica, Subscription

EVEN = "number in [0, 2, 4, 6, 8, 10, 12]"


def query(channels: str, filters: dict[str, str], **more: str) -> str:
    return "?" + urlencode({"channels": channels, "filters": json.dumps(filters), **more})


async def numbers(subscription: Subscription, count: int) -> list[int]:
    return [(await subscription.next())["data"]["number"] for _ in range(count)]


async def filtered(replica: Replica, token: str, connection: str, filters: dict[str, str | None]) -> dict[str, Any]:
    body = json.dumps({"connection": connection, "filters": filters}).encode()
    answer = await replica.request("POST", "/subscriptions", JSON | {"Authorization": f"Bearer {token}"}, body)
    return {"status": answer.status, **answer.json}


@pytest.mark.parametrize("history", [64 * 1024, 1024], ids=["memory", "log"])
async def test_a_connection_receives_what_passes_live_and_after_it_resumes(
    deployment: Deployment, history: int
) -> None:
    async with deployment.replica({"delivery": {"history": {"limit_bytes": history}}}) as replica:
        token = await replica.register()
        await replica.push("a", *range(4))
        await replica.push("b", 100)
        path = "/ws/publish" + query("a,b", {"a": EVEN}, since="earliest")
        async with replica.connect(token, path=path) as subscription:
            first = await subscription.next()
            assert (first["type"], first["data"]["filters"]) == ("trelay.connected", {"a": EVEN})
            assert sorted(await numbers(subscription, 3)) == [0, 2, 100]
            await replica.push("a", *range(4, 8))
            assert await numbers(subscription, 1) == [4]
            last = await subscription.next()
            assert last["data"]["number"] == 6
        await replica.push("a", *(range(7, 300) if history == 1024 else range(7, 12)))
        async with replica.connect(
            token, path="/ws/publish" + query("a,b", {"a": EVEN}, cursor=last["cursor"])
        ) as again:
            await again.next()
            assert await numbers(again, 2) == [8, 10]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
async def test_filters_change_while_a_connection_lives(deployment: Deployment, elsewhere: bool) -> None:
    async with deployment.replica() as one, deployment.replica() as two:
        token = await one.register()
        async with one.connect(token, path="/ws/publish?channels=a") as subscription:
            connection = (await subscription.next())["data"]["connection"]
            asked = two if elsewhere else one
            await one.push("a", 1)
            assert await numbers(subscription, 1) == [1]
            answer = await filtered(asked, token, connection, {"a": EVEN})
            assert answer["status"] == 200, answer
            told = await subscription.next()
            assert (told["type"], told["cursor"]) == ("trelay.subscribed", answer["cursor"])
            assert told["data"] == {"channels": ["a"], "filters": {"a": EVEN}, "reason": "requested"}
            await one.push("a", 2, 3, 4)
            assert await numbers(subscription, 2) == [2, 4]
            answer = await filtered(asked, token, connection, {"a": "number ="})
            assert (answer["status"], answer["code"]) == (400, "malformed")
            assert "filter of 'a': position 9: found the end" in answer["detail"]
            assert (await filtered(asked, token, connection, {"a": None}))["status"] == 200
            assert (await subscription.next())["data"]["channels"] == ["a"]
            await one.push("a", 5)
            assert await numbers(subscription, 1) == [5]


async def test_event_streams_and_long_polling_filter_as_well(deployment: Deployment, replica: Replica) -> None:
    del deployment
    token = await replica.register()
    begun = (await poll(replica, token, query("a", {"a": EVEN})))["cursor"]
    await replica.push("a", 1, 2, 3, 4)
    found = await poll(replica, token, query("a", {"a": EVEN}, cursor=begun, wait="20"))
    assert [each["data"]["number"] for each in found["events"]] == [2, 4]
    async with stream(replica, token, query("a", {"a": EVEN}, cursor=begun)) as entries:
        assert (await entries.next())["type"] == "trelay.connected"
        assert [(await entries.next())["data"]["number"] for _ in range(2)] == [2, 4]
        await replica.push("a", 5, 6)
        assert (await entries.next())["data"]["number"] == 6


async def test_an_invalid_filter_is_refused_with_its_position(deployment: Deployment, replica: Replica) -> None:
    del deployment
    token = await replica.register()
    url = f"{replica.url}/sse/publish" + query("a", {"a": "number > $uppercase(x)"})
    async with aiohttp.ClientSession() as session:
        response = await session.get(url, headers={"Authorization": f"Bearer {token}"})
        body = await response.json()
    assert (response.status, body["code"]) == (400, "malformed")
    assert "filter of 'a': position 10: found '$uppercase(x)'; expected" in body["detail"]
