"""The whole service in one process, on the bus in memory."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.process_api.app import BUS, build_process_api
from services.process_api.pipeline.steps.python_pool.pool import Pool
from services.process_api.settings import ProcessSettings
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing, TopicOptions
from shared.bus.topics import TopicsOptions
from shared.composition.serving import RunningService
from shared.errors import SettingsError
from shared.events.headers import headers_of
from shared.runtime.reloading import SettingsFile
from tests.unit.services.process_api.making import event
from tests.unit.services.process_api.worker.streaming import until

TOPICS = TopicsOptions()
FUNCTIONS = "tests.unit.services.process_api.pipeline.steps.functions"


def settings(*steps: Any, **bus: Any) -> ProcessSettings:
    pipelines = {"orders": {"sources": ["orders"], "channel": "orders", "steps": list(steps)}}
    return ProcessSettings.model_validate({"process": {"listen": {"port": 0}, "pipelines": pipelines}, **bus})


@contextlib.asynccontextmanager
async def running(given: ProcessSettings, bus: MemoryBus) -> AsyncIterator[RunningService]:
    async with build_process_api(given, bus=bus, alerts=RecordingAlerts()) as service:
        yield service


async def ask(service: RunningService, path: str, until: Callable[[str], bool]) -> str:
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{service.listening.health_url}{path}") as response:
                answer = await response.text()
            if until(answer):
                return answer
            await asyncio.sleep(0.01)


def is_ready(answer: str) -> bool:
    return bool(json.loads(answer)["ready"])


async def test_an_event_is_processed_and_counted() -> None:
    bus = MemoryBus()
    async with running(settings({"set": {"data.seen": True}}), bus) as service:
        await ask(service, "/readyz", is_ready)
        async with bus.appender() as appender:
            record = Outgoing(b"C-1", event({"n": 1}), headers_of(b"orders 1 orders:7"))
            await appender.append(TOPICS.ingest, [record])
        await ask(
            service, "/metrics", lambda text: 'trelay_process_events_published_total{pipeline="orders"} 1.0' in text
        )
    published = [record for number in range(TOPICS.partitions) for record in bus.records(TOPICS.publish, number)]
    assert [json.loads(record.value or b"")["data"] for record in published] == [{"n": 1, "seen": True}]


async def publish(bus: MemoryBus, number: int) -> None:
    async with bus.appender() as appender:
        record = Outgoing(b"C-1", event({"n": number}), headers_of(b"orders 1 orders:%d" % number))
        await appender.append(TOPICS.ingest, [record])


async def test_pipelines_are_replaced_between_two_batches_and_all_or_none_of_them() -> None:
    bus = MemoryBus()
    file = settings({"set": {"data.version": 1}})
    async with running(file, bus) as service:
        read = [settings({"set": {"data.version": 2}}), settings({"filter": "($f := function(){$f()}; $f())"})]
        reload = SettingsFile(file, lambda _files: read.pop(0), service.sections).reload
        await ask(service, "/readyz", is_ready)
        for number, loaded in ((1, ["process.pipelines"]), (2, []), (3, None)):
            await publish(bus, number)
            total = f'trelay_process_events_published_total{{pipeline="orders"}} {number}.0'
            await ask(service, "/metrics", lambda text, total=total: total in text)  # type: ignore[misc]
            if loaded is not None:
                assert await reload() == loaded
    published = [record for number in range(TOPICS.partitions) for record in bus.records(TOPICS.publish, number)]
    assert [json.loads(record.value or b"")["data"] for record in published] == [
        {"n": 1, "version": 1},
        {"n": 2, "version": 2},
        {"n": 3, "version": 2},
    ]


async def test_replaced_pipelines_are_open_for_as_long_as_a_batch_uses_them(tmp_path: Path) -> None:
    entered, proceed = tmp_path / "entered", tmp_path / "proceed"
    told = {"entered": str(entered), "proceed": str(proceed)}
    slow = {"function": f"{FUNCTIONS}:until_told", "settings": told, "run": "process", "timeout": 240}
    bus, file = MemoryBus(), settings({"python": slow})
    async with running(file, bus) as service, asyncio.timeout(240):
        reload = SettingsFile(file, lambda _files: settings({"set": {"data.version": 2}}), service.sections).reload
        await ask(service, "/readyz", is_ready)
        await publish(bus, 1)
        await until(entered.exists, 240)
        assert await reload() == ["process.pipelines"]
        for _ in range(10):
            await asyncio.sleep(0)  # whatever is closed at once is closed
        proceed.touch()
        await publish(bus, 2)
        await ask(
            service, "/metrics", lambda text: 'trelay_process_events_published_total{pipeline="orders"} 2.0' in text
        )
    published = [record for number in range(TOPICS.partitions) for record in bus.records(TOPICS.publish, number)]
    assert [json.loads(record.value or b"")["data"] for record in published] == [{"n": 1}, {"n": 2, "version": 2}]


async def test_what_replaced_pipelines_hold_open_is_closed_when_the_service_stops_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began, ended, close = 0, 0, Pool.close

    async def slowly(pool: Pool) -> None:
        nonlocal began, ended
        began += 1
        for _ in range(100):
            await asyncio.sleep(0)
        await close(pool)
        ended += 1

    monkeypatch.setattr(Pool, "close", slowly)
    slow = {"function": f"{FUNCTIONS}:until_told", "settings": {"entered": "", "proceed": ""}, "run": "process"}
    file = settings({"python": slow})
    async with running(file, MemoryBus()) as service:
        reload = SettingsFile(file, lambda _files: settings({"set": {"data.version": 2}}), service.sections).reload
        assert await reload() == ["process.pipelines"]
        while not began:
            await asyncio.sleep(0)
    assert (began, ended) == (1, 1)


async def test_an_added_pipeline_reads_zero_until_it_runs() -> None:
    file = settings()
    pipelines = file.process.pipelines
    more = file.process.model_copy(update={"pipelines": pipelines | {"more": pipelines["orders"]}})
    async with running(file, MemoryBus()) as service:
        reload = SettingsFile(file, lambda _files: file.model_copy(update={"process": more}), service.sections).reload
        assert await reload() == ["process.pipelines"]
        await ask(
            service, "/metrics", lambda text: 'trelay_process_events_published_total{pipeline="more"} 0.0' in text
        )


async def test_it_starts_without_its_bus_and_reports_what_it_waits_for() -> None:
    # Nothing listens on port 1.
    given = settings(bus={"kind": "kafka", "servers": "127.0.0.1:1"})
    async with build_process_api(given, alerts=RecordingAlerts()) as service:
        answer = json.loads(await ask(service, "/readyz", lambda text: "127.0.0.1:1" in text))
        assert answer["ready"] is False
        assert "127.0.0.1:1" in answer["missing"][BUS]
        await ask(service, "/healthz", lambda text: json.loads(text) == {"alive": True})


async def test_a_problem_of_the_bus_is_reported() -> None:
    bus = MemoryBus()
    async with running(settings(), bus) as service:
        await ask(service, "/readyz", is_ready)
        bus.problem = "the broker is away"
        answer = await ask(service, "/readyz", lambda text: not is_ready(text))
        assert json.loads(answer)["missing"] == {BUS: "the broker is away"}


async def test_the_lag_of_the_owned_partitions_is_measured() -> None:
    bus = MemoryBus()
    async with running(settings(), bus) as service:
        await ask(service, "/metrics", lambda text: 'trelay_process_lag_records{partition="3"} 0.0' in text)


async def test_topics_with_other_partitions_end_the_service_with_a_reason() -> None:
    bus = MemoryBus()
    await bus.ensure_topics([TopicOptions(name=TOPICS.publish, partitions=7)])
    async with running(settings(), bus) as service:
        async with asyncio.timeout(60):
            failure = await service.failed()
    assert isinstance(failure, SettingsError)
    assert TOPICS.publish in str(failure)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"filter": "($f := function(){$f()}; $f())"}, r"^process\.pipelines\.orders\.steps\.0: .*D1012"),
        ({"python": "nowhere:f"}, r"^process\.pipelines\.orders\.steps\.0: nowhere:f cannot be imported"),
    ],
)
async def test_pipelines_that_cannot_run_prevent_the_start(step: Any, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        async with running(settings(step), MemoryBus()):
            pytest.fail("it must not start")


async def test_state_is_kept_in_the_directory_of_the_settings(tmp_path: Path) -> None:
    bus = MemoryBus()
    written = settings({"dedupe": {"within": 60}}).model_dump(mode="json", by_alias=True, exclude_unset=True)
    written["process"]["state"] = {"directory": str(tmp_path / "state")}
    given = ProcessSettings.model_validate(written)
    for _ in range(2):
        async with running(given, bus) as service:
            await ask(service, "/readyz", is_ready)
            await publish(bus, 1)
            await ask(service, "/metrics", lambda text: 'events_taken_total{pipeline="orders"} 1.0' in text)
    assert (tmp_path / "state" / "CURRENT").exists()
    published = [record for number in range(TOPICS.partitions) for record in bus.records(TOPICS.publish, number)]
    assert len(published) == 1
