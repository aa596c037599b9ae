"""Repeated pushes on real sockets."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.integration.services.experience_api.producers import in_memory

BATCH = {"Content-Type": "application/cloudevents-batch+json"}


@dataclass
class Client:
    """Pushes."""

    url: str
    http: aiohttp.ClientSession

    async def push(self, body: Any, key: str | None = None, **headers: str) -> tuple[int, Any]:
        query = "" if "Content-Type" in headers else "?channel=orders"
        lines = {"Content-Type": "application/json", **headers} | ({} if key is None else {"Idempotency-Key": key})
        async with self.http.post(f"{self.url}/entity{query}", data=json.dumps(body), headers=lines) as response:
            return response.status, await response.json(content_type=None)

    async def metric(self, name: str) -> str:
        async with self.http.get(f"{self.url}/metrics") as response:
            lines = (await response.text()).splitlines()
        return next(line.split()[1] for line in lines if line.startswith(name))


@pytest.fixture(params=[False], ids=["by key"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    options = {"entity": {"allow": ["127.0.0.1"], "once": {"by_event": request.param}}, "listen": {"health": None}}
    async with in_memory(options) as service, aiohttp.ClientSession() as http:
        yield Client(service.listening.url, http)


def event(number: int, **more: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": f"{number}", "source": "/s", "type": "t", "channel": "orders", **more}


async def test_a_repeated_push_has_the_same_response(client: Client) -> None:
    first = await client.push(1, '"a"')
    assert (first[0], first[1]["accepted"]) == (202, 1)
    assert await client.push(1, "a") == first
    assert (await client.push(1, "b"))[1]["ids"] != first[1]["ids"]
    status, found = await client.push(2, "a")
    assert (status, found["code"]) == (422, "idempotency-key-reused")
    status, found = await client.push(1, 'a"')
    assert (status, found["code"]) == (400, "malformed")
    assert await client.metric("trelay_experience_repeated_events_total") == "1.0"
    assert await client.metric("trelay_experience_pushed_events_total") == "2.0"


@pytest.mark.parametrize("client", [True], indirect=True, ids=["by event"])
async def test_each_event_is_published_once_by_its_source_and_id(client: Client) -> None:
    first, second, third = (event(number, data=number) for number in (1, 2, 3))
    for batch in ([first, second], [second, first, third, third], [event(1, data="other")]):
        status, found = await client.push(batch, **BATCH)
        assert (status, found["accepted"]) == (202, len(batch))
    assert (await client.push([event(1, source="/t", data=4)], **BATCH))[0] == 202
    assert (await client.push([first, event(5, data=5)], "key", **BATCH))[0] == 202
    assert await client.metric("trelay_experience_pushed_events_total") == "5.0"
