"""The audit of a connection on a real socket."""

import asyncio
import json
from contextlib import aclosing
from typing import Any

import aiohttp

from services.experience_api.wire.cursor import CursorCodec
from shared.bus.memory import MemoryBus
from shared.bus.topics import TopicsOptions
from tests.integration.services.experience_api.producers import in_memory
from trelay_client import Channels, ClientCredentials, subscribe

TOPICS = TopicsOptions()


def audit(bus: MemoryBus) -> list[dict[str, Any]]:
    return [json.loads(record.value or b"") for record in bus.records(TOPICS.audit, 0)]


async def until(bus: MemoryBus, kind: str, acknowledged: str) -> None:
    async with asyncio.timeout(60):
        while not any(each["kind"] == kind and each["acknowledged"] == acknowledged for each in audit(bus)):
            await asyncio.sleep(0.02)


async def test_what_the_client_has_received_is_acknowledged_up_to_its_cursor() -> None:
    bus = MemoryBus()
    settings = {"audit": {"interval": 1}, "entity": {"allow": ["127.0.0.1"]}}
    async with in_memory(settings, bus) as service, aiohttp.ClientSession() as http:
        url = service.listening.url
        frames = subscribe(url, ClientCredentials("demo", "demo"), ["orders"])
        async with asyncio.timeout(60), aclosing(frames):
            cursor = (await anext(frames)).event["cursor"]
            async with http.post(f"{url}/entity?channel=orders", json={"n": 1}) as response:
                assert response.status == 202
            last = (await anext(frames)).event["cursor"]
            await until(bus, "delivered", last)
    opened, closed = audit(bus)[0], audit(bus)[-1]
    assert (opened["kind"], opened["client_id"], opened["after"]) == ("opened", "demo", cursor)
    assert (closed["kind"], closed["written"], closed["channels"]) == ("closed", last, ["orders"])
    codec = CursorCodec(await bus.epoch(TOPICS.publish), TOPICS.partitions)
    reached = [codec.decode(each["written"]) for each in audit(bus)]
    assert reached == sorted(reached)
    assert sum(reached[-1]) == 1


async def test_a_change_of_channels_ends_a_range() -> None:
    bus = MemoryBus()
    settings = {"audit": {"interval": 600}, "entity": {"allow": ["127.0.0.1"]}}
    async with in_memory(settings, bus) as service, aiohttp.ClientSession() as http:
        url, channels = service.listening.url, Channels(["orders"])
        frames = subscribe(url, ClientCredentials("demo", "demo"), channels)
        async with asyncio.timeout(60), aclosing(frames):
            await anext(frames)
            async with http.post(f"{url}/entity?channel=orders", json={"n": 1}) as response:
                assert response.status == 202
            delivered = (await anext(frames)).event["cursor"]
            await channels.subscribe("stock")
            assert (await anext(frames)).event["type"] == "trelay.subscribed"
    assert [(each["kind"], each["written"], each["channels"]) for each in audit(bus)[1:]] == [
        ("delivered", delivered, ["orders"]),
        ("closed", delivered, ["orders", "stock"]),
    ]


async def test_the_first_range_begins_where_the_connection_resumes() -> None:
    """What waits in the history is written in the same step as the first frame."""
    bus = MemoryBus()
    settings = {"audit": {"interval": 1}, "entity": {"allow": ["127.0.0.1"]}}
    async with in_memory(settings, bus) as service, aiohttp.ClientSession() as http:
        url = service.listening.url
        for number in range(3):
            async with http.post(f"{url}/entity?channel=orders", json={"n": number}) as response:
                assert response.status == 202
        frames = subscribe(url, ClientCredentials("demo", "demo"), ["orders"], since="earliest")
        async with asyncio.timeout(60), aclosing(frames):
            beginning = (await anext(frames)).event["cursor"]
            last = [(await anext(frames)).event["cursor"] for _ in range(3)][-1]
            await until(bus, "delivered", last)
    assert (audit(bus)[0]["after"], audit(bus)[0]["written"]) == (beginning, beginning)
    assert (audit(bus)[1]["after"], audit(bus)[1]["written"]) == (beginning, last)


async def test_it_is_off_by_default() -> None:
    bus = MemoryBus()
    async with in_memory({}, bus) as service, asyncio.timeout(60):
        frames = subscribe(service.listening.url, ClientCredentials("demo", "demo"), ["orders"])
        async with aclosing(frames):
            await anext(frames)
    assert audit(bus) == []
