"""The whole service in one process, without a server."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.system_api.app import build_system_api
from services.system_api.settings import SystemSettings
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.bus.protocol import TopicOptions
from shared.errors import SettingsError
from shared.lease import MemoryLeaseStore
from tests.unit.services.system_api.sources.file.file_poller import write


def settings(folder: Path, **sources: Any) -> SystemSettings:
    source = {"kind": "file", "path": str(folder / "a.ndjson"), "type": "t", "subject": "id", "channel": "c"}
    given = {"node": "n", "listen": {"port": 0}, "sources": {"orders": source, **sources}}
    return SystemSettings.model_validate({"system": given})


@contextlib.asynccontextmanager
async def running(given: SystemSettings, bus: MemoryBus, alerts: RecordingAlerts | None = None) -> AsyncIterator[str]:
    outside = {"leases": MemoryLeaseStore(), "alerts": alerts or RecordingAlerts()}
    async with build_system_api(given, bus=bus, **outside) as service:  # type: ignore[arg-type]
        yield service.listening.url


async def ask(url: str, until: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            async with session.get(url) as response:
                answer = await response.json()
            if until(answer):
                return answer
            await asyncio.sleep(0.01)


async def test_a_file_becomes_events_and_operators_see_its_position(tmp_path: Path) -> None:
    bus = MemoryBus()
    write(tmp_path / "a.ndjson", 1, 2, 3)
    async with running(settings(tmp_path), bus) as url:
        found = await ask(f"{url}/sources", lambda answer: answer["orders"]["parts"] == 2)
        ready = await ask(f"{url}/readyz", lambda answer: bool(answer["ready"]))
    assert ready["notes"] == {}
    orders = found["orders"]
    assert (orders["state"], orders["error"], orders["problems"]) == ("running", None, [])
    (position,) = [json.loads(value) for part, value in orders["position"].items() if part]
    assert (position["offset"], position["rows"]) == (33, 3)
    assert sum(len(bus.records("trelay.publish", number)) for number in range(4)) == 3


async def test_a_source_that_is_down_is_a_note_of_readiness_and_stops_no_other(tmp_path: Path) -> None:
    other = {
        "kind": "file",
        "path": str(tmp_path / "missing" / "b.ndjson"),
        "type": "t",
        "subject": "id",
        "retry": {"attempts": 1, "first_wait": 0, "longest_wait": 0.01},
    }
    bus, alerts = MemoryBus(), RecordingAlerts()
    write(tmp_path / "a.ndjson", 1)
    async with running(settings(tmp_path, other=other), bus, alerts) as url:
        await ask(f"{url}/sources", lambda answer: answer["orders"]["parts"] == 2)
        ready = await ask(f"{url}/readyz", lambda answer: "source/other" in answer["notes"])
        assert ready["ready"] is True
        assert "missing: No such file or directory" in ready["notes"]["source/other"]
        await ask(f"{url}/sources", lambda answer: answer["other"]["state"] == "down")
        assert alerts.open == {("source", "other")}
        (tmp_path / "missing").mkdir()
        write(tmp_path / "missing" / "b.ndjson", 1)
        await ask(f"{url}/sources", lambda answer: answer["other"]["state"] == "running")
        assert alerts.open == set()


async def test_topics_with_other_settings_end_the_service_with_a_reason(tmp_path: Path) -> None:
    bus = MemoryBus()
    await bus.ensure_topics([TopicOptions(name="trelay.publish", partitions=7)])
    outside: dict[str, Any] = {"leases": MemoryLeaseStore(), "alerts": RecordingAlerts()}
    async with build_system_api(settings(tmp_path), bus=bus, **outside) as service:
        async with asyncio.timeout(60):
            failure = await service.failed()
    assert isinstance(failure, SettingsError)
    assert "trelay.publish" in str(failure)


@pytest.mark.parametrize("name", ["Orders", "a/b", "a b", "", "-a", "x" * 64])
def test_a_source_name_that_cannot_be_part_of_keys_is_refused(tmp_path: Path, name: str) -> None:
    source = {"kind": "file", "path": "a.ndjson", "type": "t", "subject": "id"}
    with pytest.raises(ValueError, match="sources"):
        SystemSettings.model_validate({"system": {"sources": {name: source}}})
