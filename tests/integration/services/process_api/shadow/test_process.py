"""The process of shadows, and a whole process layer beside a shadow that hangs, ends or fails."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from services.process_api.app import build_process_api
from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.settings import ProcessSettings
from services.process_api.shadow.messages import Given, Result
from services.process_api.shadow.process import ShadowProcess
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing
from shared.bus.topics import TopicsOptions
from shared.errors import Unavailable
from shared.events.headers import headers_of
from tests.unit.services.process_api.making import event

FUNCTIONS = "tests.integration.services.process_api.shadow.shadowed"
TOPICS = TopicsOptions(partitions=1)


def given(number: int) -> Given:
    return Given("orders", event({"n": number}), [], "trelay.ingest", 0, number, 1_700_000_000_001, b"C-1", [])


async def test_a_process_judges_until_it_is_ended() -> None:
    steps = [{"filter": "n != 3"}]
    options = PipelineOptions.model_validate({"sources": ["*"], "channel": "orders", "steps": steps})
    process = await ShadowProcess.started({"orders": options})
    try:
        results = [(await process.judge(given(number), 30)).result for number in (1, 3)]
    finally:
        status = await process.end()
    assert results == [Result.ONLY_NEW, Result.SAME]
    assert status == -9
    with pytest.raises(EOFError):
        await process.judge(given(1), 30)


async def test_a_process_that_cannot_build_its_pipelines_is_named() -> None:
    options = PipelineOptions.model_validate({"sources": ["*"], "steps": [{"python": "absent_module:f"}]})
    with pytest.raises(Unavailable, match="does not start: exit status 1"):
        await ShadowProcess.started({"orders": options})


async def test_a_shadow_that_goes_wrong_stops_nothing_and_is_shown() -> None:
    steps = [{"python": f"{FUNCTIONS}:go_wrong"}, {"set": {"data.seen": "=n != 5"}}]
    pipeline: dict[str, Any] = {
        "sources": ["orders"],
        "channel": "orders",
        "steps": [{"set": {"data.seen": True}}],
        "shadow": {"steps": steps, "timeout": 2},
    }
    settings = ProcessSettings.model_validate({"process": {"listen": {"port": 0}, "pipelines": {"orders": pipeline}}})
    settings = settings.model_copy(update={"bus": settings.bus.model_copy(update={"topics": TOPICS})})
    bus = MemoryBus()
    async with (
        build_process_api(settings, bus=bus, alerts=RecordingAlerts()) as service,
        aiohttp.ClientSession() as http,
    ):
        url = f"{service.listening.health_url}/pipelines/orders/shadow"
        async with bus.appender() as appender, asyncio.timeout(60):
            while bus_problem(bus):
                await asyncio.sleep(0.01)
            for number in range(1, 7):
                headers = headers_of(b"orders 1 orders:%d" % number)
                await appender.append(TOPICS.ingest, [Outgoing(b"C-1", event({"n": number}), headers)])
            shown: dict[str, Any] = {}
            while sum(shown.get("results", {}).values()) < 6:
                await asyncio.sleep(0.05)
                async with http.get(url) as response:
                    shown = json.loads(await response.text())
        async with http.get(f"{service.listening.health_url}/metrics") as response:
            metrics = await response.text()
    published = [json.loads(record.value or b"")["data"] for record in bus.records(TOPICS.publish, 0)]
    assert published == [{"n": number, "seen": True} for number in range(1, 7)]
    assert shown["results"] == {"same": 2, "different": 1, "only_old": 0, "only_new": 0, "failed": 3, "dropped": 0}
    hung, ended, filled, different = shown["differences"]
    assert hung["error"] == "no result within 2 s"
    assert ended["error"] == "the process of the shadow ended with 3"
    assert "go_wrong raised MemoryError" in filled["error"]
    assert different["new"][0]["data"] == {"n": 5, "seen": False}
    assert 'trelay_pipeline_shadow_events_total{pipeline="orders",result="failed"} 3.0' in metrics


def bus_problem(bus: MemoryBus) -> bool:
    """Whether the topics are not made yet."""
    try:
        bus.records(TOPICS.ingest, 0)
    except Unavailable:
        return True
    return False
