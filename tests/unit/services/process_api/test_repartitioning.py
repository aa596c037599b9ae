"""Pipelines that `repartition` divides, on the whole service without a server: rewinds, pauses and dead letters."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from services.process_api.operations.overview import Overview, Positions
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Bus, Outgoing
from shared.events.headers import headers_of
from tests.unit.services.process_api.making import event
from tests.unit.services.process_api.test_routes import running

SUM = {"aggregate": {"window": {"tumbling": 60}, "early": 0.01, "values": {"n": "count", "sum": {"sum": "n"}}}}
PIPELINES: dict[str, Any] = {
    "totals": {"sources": ["orders"], "channel": "totals", "steps": [{"repartition": "customer"}, SUM]},
    "copies": {
        "sources": ["orders"],
        "channel": "copies",
        "steps": [{"repartition": "customer"}, {"map": "n = 13 ? $error('odd one') : $"}],
    },
}
ORDERS = 40


def order(number: int, second: int) -> tuple[bytes, Outgoing]:
    data = {"n": number, "customer": f"C-{number % 3}"}
    subject, identity = f"order-{number}", f"orders:{number}"
    value = event(data, id=identity, subject=subject, time=f"2026-01-01T00:{second // 60:02}:{second % 60:02}Z")
    return subject.encode(), Outgoing(subject.encode(), value, headers_of(f"orders 1700000000000 {identity}".encode()))


async def ingest(bus: MemoryBus, *orders: tuple[bytes, Outgoing]) -> None:
    async with bus.appender() as appender:
        await appender.append("trelay.ingest", [record for _, record in orders])


def published(bus: MemoryBus, channel: str) -> list[Any]:
    found = [record for number in range(4) for record in bus.records("trelay.publish", number)]
    return [json.loads(record.value or b"") for record in found if record.key == channel.encode()]


def newest(bus: MemoryBus) -> dict[str, tuple[int, int]]:
    return {each["subject"]: (each["data"]["n"], each["data"]["sum"]) for each in published(bus, "totals")}


def numbers(bus: MemoryBus) -> Counter[int]:
    return Counter(each["data"]["n"] for each in published(bus, "copies"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_rewind_runs_each_event_through_all_parts_again_once() -> None:
    bus = MemoryBus()
    each_once = Counter(number for number in range(ORDERS) if number != 13)
    wanted = {f"C-{of}": (len(range(of, ORDERS, 3)), sum(range(of, ORDERS, 3))) for of in range(3)}
    async with running(bus, "a", pipelines=PIPELINES) as one, running(bus, "b", pipelines=PIPELINES) as another:
        await one.until(lambda found: found["lag"] == 0, "totals")
        await ingest(bus, *(order(number, number) for number in range(ORDERS)))
        await until(lambda: newest(bus) == wanted and numbers(bus) == each_once)
        shown = (await one.get("/totals"))[1]
        assert shown["topics"]["out"] == ["trelay.publish", "trelay.dead-letter", "trelay.state", "trelay.ingest"]
        planned = (await another.post("copies/rewind", {"to": "beginning", "dry_run": True}))[1]
        assert planned["events"] == ORDERS
        status, shown = await another.post("copies/rewind", {"to": "beginning"})
        assert (status, set(shown["rewind"]["partitions"])) == (202, {"0", "1", "2", "3"})
        await until(lambda: numbers(bus) == each_once + each_once)
        results = len(published(bus, "totals"))
        await one.post("totals/rewind", {"to": "beginning", "reset_state": True})
        await one.until(lambda found: found["rewind"]["state"] == "done" and found["lag"] == 0, "totals")
        # The state counts each event once: neither those that waited between the parts twice, nor any not at all.
        await until(lambda: len(published(bus, "totals")) > results and newest(bus) == wanted)
        assert numbers(bus) == each_once + each_once, "no other pipeline is rewound"


async def test_two_rewinds_that_are_asked_for_at_once_have_different_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    # Else both get one number, and events that the first part makes for one of them pass for those of the other.
    bus, both, looks = MemoryBus(), asyncio.Barrier(2), 0
    positions = Overview.positions

    async def together(overview: Overview, bus: Bus, pipeline: str) -> Positions:
        nonlocal looks
        looks += 1
        found = await positions(overview, bus, pipeline)
        if looks <= 2:
            await both.wait()
        return found

    async with running(bus, "a", pipelines=PIPELINES) as one, running(bus, "b", pipelines=PIPELINES) as another:
        await one.until(lambda found: found["lag"] == 0, "copies")
        await ingest(bus, *(order(number, number) for number in range(ORDERS)))
        await until(lambda: numbers(bus).total() == ORDERS - 1)
        await one.until(lambda found: found["lag"] == 0, "copies")
        monkeypatch.setattr(Overview, "positions", together)
        async with asyncio.timeout(60):
            asked = await asyncio.gather(*(api.post("copies/rewind", {"to": "beginning"}) for api in (one, another)))
        # The second one is refused until the first has run through, unless that was quicker.
        assert {status for status, _ in asked} in ({202}, {202, 409}), asked
        await one.until(lambda found: found["rewind"]["state"] == "done" and found["lag"] == 0, "copies")
        asked += [await another.post("copies/rewind", {"to": "beginning"}) for status, _ in asked if status == 409]
        ids = [answer["rewind"]["id"] for status, answer in asked if status == 202]
        assert sorted(identity.partition("-")[0] for identity in ids) == ["1", "2"], asked
        await one.until(lambda found: found["rewind"]["state"] == "done" and found["lag"] == 0, "copies")


async def test_a_pause_holds_both_parts() -> None:
    bus = MemoryBus()
    async with running(bus, pipelines=PIPELINES) as api:
        await api.until(lambda found: found["lag"] == 0, "copies")
        await api.post("copies/pause")
        await ingest(bus, *(order(number, 0) for number in range(4)))
        await api.until(lambda found: found["lag"] > 0, "copies")
        assert published(bus, "copies") == []
        await api.post("copies/resume")
        found = await api.until(lambda found: found["lag"] == 0 and found["events"]["published"] == 4, "copies")
        assert found["events"] == {"taken": 4, "published": 4, "dead_letters": 0}


async def test_an_event_that_a_later_part_refused_is_replayed_to_that_part() -> None:
    bus = MemoryBus()
    async with running(bus, pipelines=PIPELINES) as api:
        await api.until(lambda found: found["lag"] == 0, "copies")
        await ingest(bus, order(13, 0))
        found = await api.until(lambda found: found["last_error"] is not None, "copies")
        assert found["last_error"]["error"].startswith("steps.1.map: ")
        (letter,) = bus.records("trelay.dead-letter", 0)
        assert json.loads(letter.value or b"")["subject"] == "C-1"
        before = sum(len(bus.records("trelay.ingest", number)) for number in range(4))
        status, answer = await api.call("/dead-letters/replay", {"ids": ["0-0"]})
        assert (status, answer["replayed"]) == (200, 1), answer
        async with asyncio.timeout(60):
            while len(bus.records("trelay.dead-letter", 0)) < 2:
                await asyncio.sleep(0.01)
        # One record more: the replay runs through the part that refused the event, and not through the first one.
        assert sum(len(bus.records("trelay.ingest", number)) for number in range(4)) == before + 1
        assert dict(bus.records("trelay.dead-letter", 0)[1].headers)["replay-of"] == b"0-0"
