"""The `Idempotency-Key` of an event that comes from the dead letter, as it came or edited."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from shared.bus.memory import MemoryBus
from tests.servers.http_api import http_api
from tests.unit.services.process_api.test_routes import ingest, published, running


@pytest.mark.parametrize("before", [[], [{"repartition": "$string(region)"}]], ids=["one part", "behind a repartition"])
async def test_an_edited_event_is_another_request_and_its_replay_is_the_same_one(before: list[Any]) -> None:
    bus = MemoryBus()
    async with http_api() as api:

        async def check(request: web.Request) -> web.Response:
            return web.json_response({}, status=200 if (await request.json())["n"] == 3 else 400)

        api.answer("/score", check)
        step = {"call": {"url": api.url("/score"), "network": {"allow": ["127.0.0.1"]}}}
        pipelines = {"orders": {"sources": ["orders"], "channel": "orders", "steps": [*before, step]}}
        async with running(bus, pipelines=pipelines) as service, asyncio.timeout(60):
            await service.until(lambda found: found["lag"] == 0)
            await ingest(bus, 1)
            changes: list[dict[str, Any]] = [{}, {"data": {"n": 2, "region": "eu"}}, {}, {"data": {"n": 3}}]
            for number, change in enumerate(changes):
                while len(bus.records("trelay.dead-letter", 0)) == number:
                    await asyncio.sleep(0.01)
                answer = await service.call("/dead-letters/replay", {"ids": [f"0-{number}"], **change})
                assert (answer[0], answer[1]["replayed"]) == (200, 1), answer
            await service.until(lambda found: found["events"]["published"] == 1)
        bodies = [(await request.json())["n"] for request in api.requests]
        first, again, edited, edited_again, second = [request.headers["Idempotency-Key"] for request in api.requests]
    assert bodies == [1, 1, 2, 2, 3]
    assert (first, edited) == (again, edited_again)
    assert len({first, edited, second}) == 3
    assert published(bus, "orders") == [3]
