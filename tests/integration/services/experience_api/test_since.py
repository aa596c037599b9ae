"""`since`: subscriptions that begin in the history, over WebSockets, event streams and long polling."""

import json
from typing import Any

import pytest

from shared.bus.topics import TopicsOptions
from tests.integration.services.experience_api.replicas import Deployment, Replica

WAYS = ["/ws/publish", "/sse/publish", "/events"]
PUBLISH = TopicsOptions().publish


async def received(replica: Replica, token: str, path: str, query: str, count: int) -> list[dict[str, Any]]:
    """Return the first events, and gaps, of a subscription that begins as `query` says."""
    found: list[dict[str, Any]] = []
    if path == "/ws/publish":
        async with replica.connect(token, path=f"{path}?{query}") as subscription:
            assert (await subscription.next())["type"] == "trelay.connected"
            found = [await subscription.next() for _ in range(count)]
    elif path == "/events":
        while len(found) < count:
            response = await replica.request("GET", f"{path}?{query}", {"Authorization": f"Bearer {token}"})
            assert response.status == 200, response
            found += response.json["events"]
            query = f"cursor={response.json['cursor']}"
    else:
        headers = {"Authorization": f"Bearer {token}"}
        async with replica.http.get(replica.url + path + f"?{query}", headers=headers) as stream:
            while len(found) < count + 1:
                line = (await stream.content.readline()).decode()
                if line.startswith("data: "):
                    found.append(json.loads(line.removeprefix("data: ")))
        found = found[1:]
    return found


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [event["data"]["number"] for event in events if event["source"] != "/trelay"]


@pytest.mark.parametrize("path", WAYS)
async def test_a_subscription_begins_in_the_history(replica: Replica, deployment: Deployment, path: str) -> None:
    token = await replica.register()
    await replica.push("orders", 1, 2, 3)
    for since in ("earliest", "1h", "2026-01-02T03:04:05%2B01:00"):
        found = await received(replica, token, path, f"since={since}", 3)
        assert numbers(found) == [1, 2, 3]
        assert not [event for event in found if event["type"] == "trelay.gap"]
        await deployment.until_no_connection()
    found = await received(replica, token, path, "since=earliest", 3)
    await deployment.until_no_connection()
    found = await received(replica, token, path, f"since=earliest&cursor={found[0]['cursor']}", 2)
    assert numbers(found) == [2, 3]


async def test_events_that_are_kept_no_longer_are_a_gap(replica: Replica, deployment: Deployment) -> None:
    token = await replica.register()
    await replica.push("orders", 1, 2, 3)
    for partition in range(len(await deployment.bus.bounds(PUBLISH))):
        deployment.bus.delete_records(PUBLISH, partition, 1)
    assert numbers(await received(replica, token, "/events", "since=1h", 3)) == [1, 2, 3]  # still in its memory
    async with deployment.replica() as other:
        for path in WAYS:
            await deployment.until_no_connection()
            found = await received(other, token, path, "since=1h", 3)
            assert (found[0]["type"], found[0]["data"].get("reason")) == ("trelay.gap", "not-kept")
            assert numbers(found) == [2, 3]
        await deployment.until_no_connection()
        assert numbers(await received(other, token, "/events", "since=earliest", 2)) == [2, 3]


async def test_a_time_that_is_still_to_come_begins_now(replica: Replica) -> None:
    token = await replica.register()
    await replica.push("orders", 1)
    async with replica.connect(token, path="/ws/publish?since=2100-01-01T00:00:00Z") as subscription:
        assert (await subscription.next())["type"] == "trelay.connected"
        await replica.push("orders", 2)
        assert (await subscription.next())["data"] == {"number": 2}


async def test_a_time_that_cannot_be_read_is_refused_with_what_is_expected(replica: Replica) -> None:
    refused = await replica.upgrade(await replica.register(), query="?since=yesterday")
    assert (refused.status, refused.code) == (400, "malformed")
    assert "expected 'earliest', a duration" in refused.json["detail"]
