"""Two replicas in one process, with the same bus, leases and operations."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from services.system_api.app import build_system_api
from services.system_api.operations.memory import MemorySourceStore
from services.system_api.settings import SystemSettings
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.lease import MemoryLeaseStore
from tests.unit.services.system_api.sources.file.file_poller import write
from tests.unit.services.system_api.test_app import ask


class Deployment:
    """What the replicas share."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.outside: dict[str, Any] = {
            "leases": MemoryLeaseStore(),
            "operations": MemorySourceStore(),
            "bus": MemoryBus(),
        }
        retry = {"attempts": 1, "first_wait": 0, "longest_wait": 0.01}
        self.sources = {
            name: {
                "kind": "file",
                "path": str(folder / name / "a.ndjson"),
                "type": "t",
                "subject": "id",
                "channel": "c",
            }
            | {"retry": retry, "interval": 0.05}
            for name in names
        }

    @contextlib.asynccontextmanager
    async def replica(self, node: str, alerts: RecordingAlerts) -> AsyncIterator[str]:
        given = {"node": node, "listen": {"port": 0}, "sources": self.sources}
        settings = SystemSettings.model_validate({"system": given})
        async with build_system_api(settings, alerts=alerts, **self.outside) as service:
            yield f"{service.listening.url}/sources"


async def test_an_outage_that_moves_has_one_beginning_and_one_end(tmp_path: Path) -> None:
    deployment, first, second = Deployment(tmp_path, "orders"), RecordingAlerts(), RecordingAlerts()
    async with contextlib.AsyncExitStack() as stack:
        async with deployment.replica("one", first) as url:
            await ask(url, lambda found: found["orders"]["state"] == "down")
            other = await stack.enter_async_context(deployment.replica("two", second))
            await ask(other, lambda found: (found["orders"]["owner"], found["orders"]["state"]) == ("one", "down"))
        await ask(other, lambda found: (found["orders"]["owner"], found["orders"]["state"]) == ("two", "down"))
        (tmp_path / "orders").mkdir()
        write(tmp_path / "orders" / "a.ndjson", 1)
        await ask(other, lambda found: found["orders"]["state"] == "running")
    assert [call.method for call in first.calls] == ["begin"]
    assert [call.method for call in second.calls] == ["adopt", "end"]


async def test_a_request_to_one_replica_reaches_the_other(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, "orders", "rates")
    for name in deployment.sources:
        (tmp_path / name).mkdir()
        write(tmp_path / name / "a.ndjson", 1)
    alerts = RecordingAlerts()
    async with deployment.replica("one", alerts) as one, deployment.replica("two", alerts) as two:
        found = await ask(one, lambda found: {each["owner"] for each in found.values()} == {"one", "two"})
        foreign = next(name for name, each in found.items() if each["owner"] == "two")
        await ask(one, lambda found: found[foreign]["state"] == "running")
        await _post(f"{one}/{foreign}/pause")
        for url in (one, two):
            await ask(url, lambda found: found[foreign]["state"] == "paused")


async def _post(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(url) as answer:
        assert answer.status == 202
