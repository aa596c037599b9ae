"""Conflation over all ways in which a subscriber is served, on real sockets."""

import json
from typing import Any

import pytest

from tests.integration.services.experience_api.http.test_long_polling import poll
from tests.integration.services.experience_api.http.test_subscribers import stream
from tests.integration.services.experience_api.replicas import JSON, Deployment, Replica, Subscription


async def push(replica: Replica, subject: str, *numbers: int) -> None:
    for number in numbers:
        body = json.dumps({"number": number}).encode()
        answer = await replica.request("POST", f"/entity?channel=a&subject={subject}", JSON, body)
        assert answer.status == 202, answer


async def numbers_until(subscription: Subscription, last: int) -> list[int]:
    found: list[int] = []
    while not found or found[-1] != last:
        found.append((await subscription.next())["data"]["number"])
    return found


async def changed(replica: Replica, token: str, connection: str, conflate: str | None) -> dict[str, Any]:
    body = json.dumps({"connection": connection, "conflate": conflate}).encode()
    answer = await replica.request("POST", "/subscriptions", JSON | {"Authorization": f"Bearer {token}"}, body)
    return {"status": answer.status, **answer.json}


@pytest.mark.parametrize("history", [64 * 1024, 1024], ids=["memory", "log"])
async def test_a_connection_receives_the_latest_live_and_after_it_resumes(deployment: Deployment, history: int) -> None:
    async with deployment.replica({"delivery": {"history": {"limit_bytes": history}}}) as replica:
        token = await replica.register()
        async with replica.connect(token, path="/ws/publish?channels=a&conflate=100ms") as subscription:
            first = await subscription.next()
            assert first["data"]["conflate"] == 0.1
            await push(replica, "1", *range(30))
            live = await numbers_until(subscription, 29)
            assert live == sorted(set(live))
            await push(replica, "1", 30)
            cursor = (await subscription.next())["cursor"]
        for number in range(31, 80):
            await push(replica, str(number % 2), number)
        async with replica.connect(token, path=f"/ws/publish?channels=a&conflate=60s&cursor={cursor}") as again:
            await again.next()
            assert await numbers_until(again, 79) == [78, 79]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
async def test_conflation_changes_while_a_connection_lives(deployment: Deployment, elsewhere: bool) -> None:
    async with deployment.replica() as one, deployment.replica() as two:
        token = await one.register()
        async with one.connect(token, path="/ws/publish?channels=a&conflate=60s") as subscription:
            connection = (await subscription.next())["data"]["connection"]
            asked = two if elsewhere else one
            await push(one, "1", 1)
            assert (await subscription.next())["data"]["number"] == 1
            await push(one, "1", 2, 3)
            answer = await changed(asked, token, connection, None)
            assert answer["status"] == 200, answer
            told = await subscription.next()
            assert (told["type"], told["cursor"]) == ("trelay.subscribed", answer["cursor"])
            assert "conflate" not in told["data"]
            assert await numbers_until(subscription, 3) == [2, 3], "from the cursor on, every event"
            assert (await changed(asked, token, connection, "60s"))["status"] == 200
            assert (await subscription.until("trelay.subscribed"))["data"]["conflate"] == 60
            refused = await changed(asked, token, connection, "1ms")
            assert (refused["status"], refused["code"]) == (400, "malformed")
            assert "body: 'conflate': found '1ms'; expected a duration" in refused["detail"]


async def test_event_streams_and_long_polling_are_conflated_as_well(deployment: Deployment, replica: Replica) -> None:
    del deployment
    token = await replica.register()
    begun = (await poll(replica, token, "?channels=a&conflate=1s"))["cursor"]
    await push(replica, "1", 1, 2)
    await push(replica, "2", 3)
    found = await poll(replica, token, f"?channels=a&conflate=1s&cursor={begun}&wait=0")
    assert [each["data"]["number"] for each in found["events"]] == [2, 3]
    async with stream(replica, token, f"?channels=a&conflate=1s&cursor={begun}") as entries:
        assert (await entries.next())["data"]["conflate"] == 1
        assert [(await entries.next())["data"]["number"] for _ in range(2)] == [2, 3]
