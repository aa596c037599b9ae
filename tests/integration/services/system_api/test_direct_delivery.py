"""Direct delivery, with a process that is killed between the confirmation of events and their checkpoint."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.standalone.embedded.process import free_port
from shared.bus.connect import connect
from shared.bus.postgres import PostgresBusOptions
from shared.database.options import DatabaseOptions
from tests.e2e.programs import Program
from tests.integration.services.system_api.service import file_source, published
from tests.unit.services.system_api.delivery.receiver import Receiver

LINES = 200
BATCH = 20
OPTIONS = PostgresBusOptions()


def program(folder: Path, name: str, settings: dict[str, Any]) -> Program:
    port = free_port()
    section = settings[name.removesuffix("_api")]
    config = folder / f"{name}.yaml"
    section["listen"] = {"port": port}
    config.write_text(yaml.safe_dump(settings))
    arguments = ["-m", f"services.{name}", "--config", str(config)]
    return Program(name, arguments, f"http://127.0.0.1:{port}/readyz", folder / f"{name}.log")


def system(folder: Path, deliver: dict[str, Any], **more: Any) -> Program:
    source = file_source(folder / "a.ndjson", channel="c", batch=BATCH)
    settings = {"system": {"node": "only", "sources": {"lines": source}, "deliver": deliver}, **more}
    return program(folder, "system_api", settings)


def write(folder: Path) -> None:
    (folder / "a.ndjson").write_text("".join(f'{{"id":"{number}"}}\n' for number in range(LINES)))


async def crash_and_finish(service: Program, crashes: int) -> None:
    """Kill the service right after events were confirmed, a few times; then let it run."""
    for visit in range(1, crashes + 1):
        service.start(f"system.delivered:{visit}")
        assert await service.ended(40) == -9, service.tail()
    service.start()


def check(found: Sequence[str], crashes: int) -> None:
    """Every line arrived, in order; those of a batch whose checkpoint was lost came again, and nothing else did."""
    assert list(dict.fromkeys(found)) == [str(number) for number in range(LINES)]
    assert len(found) == LINES + crashes * BATCH
    numbers = [int(number) for number in found]
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    assert set(steps) <= {1, 1 - BATCH}, "forward, or back to the beginning of a batch"


@pytest.mark.timeout(900)
async def test_without_a_bus_and_a_database_a_folder_keeps_the_checkpoints(
    tmp_path: Path, programs: list[Program]
) -> None:
    write(tmp_path)
    async with Receiver().running() as receiver:
        service = system(tmp_path, {"url": receiver.url, "state": str(tmp_path / "state")})
        programs.append(service)
        await crash_and_finish(service, 3)
        async with asyncio.timeout(240):
            while len(set(receiver.ids)) < LINES:
                await asyncio.sleep(0.05)
        assert await service.stop() == 0, service.tail()
    check([event["data"]["id"] for event in receiver.events], 3)
    by_id: dict[str, str] = {}
    for event in receiver.events:
        assert by_id.setdefault(event["id"], event["data"]["id"]) == event["data"]["id"], "an id is of one line"
    assert len(by_id) == LINES
    saved = json.loads((tmp_path / "state" / "checkpoints" / "lines.json").read_text())
    assert json.loads(saved["lines/~trelay"])["published"] == LINES


@pytest.mark.timeout(900)
async def test_events_are_delivered_to_the_experience_layer(
    tmp_path: Path, migrated_database: DatabaseOptions, programs: list[Program]
) -> None:
    write(tmp_path)
    database = {"database": {"url": migrated_database.url}}
    experience = program(tmp_path, "experience_api", {**database, "experience": {"entity": {"allow": ["127.0.0.0/8"]}}})
    url = experience.ready_url.replace("readyz", "entity")
    service = system(tmp_path, {"url": url}, **database)
    programs += [experience, service]
    experience.start()
    await experience.ready()
    await crash_and_finish(service, 1)
    await service.ready()
    async with connect(OPTIONS, migrated_database) as bus, asyncio.timeout(240):
        while len(set(found := (await published(bus, OPTIONS, ["c"]))["c"])) < LINES:
            await asyncio.sleep(0.1)
    assert await service.stop() == 0, service.tail()
    check(found, 1)
