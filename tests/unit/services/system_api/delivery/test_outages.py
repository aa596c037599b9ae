"""A service that delivers directly, while the other side or the folder of checkpoints does not work."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import aiohttp

from services.system_api.app import build_system_api
from services.system_api.settings import SystemSettings
from shared.alerts import RecordingAlerts
from shared.runtime.clock import SystemClock
from tests.unit.services.system_api.delivery.receiver import Receiver
from tests.unit.services.system_api.sources.file.file_poller import write

REQUESTS = 80
"""They take more than two seconds, in which a replica looks at least once whether it should leave its sources."""


class LaterClock(SystemClock):
    """A clock that can be set forward."""

    later = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.later


def settings(folder: Path, url: str) -> SystemSettings:
    retry = {"attempts": 1, "first_wait": 0, "longest_wait": 0.05}
    source: dict[str, Any] = {"kind": "file", "path": str(folder / "a.ndjson"), "type": "t", "subject": "id"}
    timing = {"channel": "c", "interval": 0.01, "retry": retry}
    deliver = {"url": url, "state": str(folder / "state"), "retry": retry}
    given = {"node": "n", "listen": {"port": 0}, "deliver": deliver, "sources": {"orders": source | timing}}
    return SystemSettings.model_validate({"system": given})


async def until_bus(url: str, *, works: bool) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{url}/readyz") as response:
                answer: dict[str, Any] = await response.json()
            if ("bus" in answer["missing"]) != works:
                return
            await asyncio.sleep(0.01)


async def requested(receiver: Receiver, count: int) -> None:
    async with asyncio.timeout(60):
        while receiver.requests < count:
            await asyncio.sleep(0.01)


async def delivered(receiver: Receiver, count: int) -> None:
    async with asyncio.timeout(60):
        while len(receiver.ids) < count:
            await asyncio.sleep(0.01)


async def test_delivery_goes_on_after_a_long_outage_of_the_other_side(tmp_path: Path) -> None:
    clock = LaterClock()
    write(tmp_path / "a.ndjson", 1)
    async with Receiver().running() as receiver:
        receiver.status = 503
        given = settings(tmp_path, receiver.url)
        async with build_system_api(given, alerts=RecordingAlerts(), clock=clock) as service:
            await until_bus(service.listening.url, works=False)
            clock.later += 3600
            await requested(receiver, receiver.requests + REQUESTS)
            receiver.status = 202
            await delivered(receiver, 1)
            await until_bus(service.listening.url, works=True)


async def test_delivery_goes_on_after_a_long_outage_of_the_folder_of_checkpoints(tmp_path: Path) -> None:
    clock = LaterClock()
    write(tmp_path / "a.ndjson", 1)
    async with Receiver().running() as receiver:
        given = settings(tmp_path, receiver.url)
        async with build_system_api(given, alerts=RecordingAlerts(), clock=clock) as service:
            await delivered(receiver, 1)
            checkpoints = tmp_path / "state" / "checkpoints"
            shutil.move(checkpoints, tmp_path / "away")
            write(tmp_path / "a.ndjson", 1, 2)
            await until_bus(service.listening.url, works=False)
            clock.later += 3600
            await requested(receiver, receiver.requests + REQUESTS)
            shutil.move(tmp_path / "away", checkpoints)
            await until_bus(service.listening.url, works=True)
            await delivered(receiver, 2)
