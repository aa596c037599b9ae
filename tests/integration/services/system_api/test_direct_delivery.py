"""Direct delivery, with a process that is killed between the confirmation of events and their checkpoint."""

import asyncio
import base64
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.standalone.embedded.process import free_port
from services.system_api.delivery.checkpoint_files import CheckpointFiles
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


def letters(folder: Path) -> list[dict[str, Any]]:
    """Return the dead letters in the folder of checkpoints."""
    return [json.loads(line) for line in (folder / "dead-letters.ndjson").read_text().splitlines()]


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
    saved = await asyncio.to_thread(CheckpointFiles(tmp_path / "state" / "checkpoints").parts, "lines")
    assert json.loads(saved["lines/~trelay"])["published"] == LINES


@pytest.mark.timeout(900)
async def test_a_short_file_that_grows_before_its_checkpoint_keeps_its_ids(
    tmp_path: Path, programs: list[Program]
) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text('{"id":"0"}\n')
    async with Receiver().running() as receiver:
        service = system(tmp_path, {"url": receiver.url, "state": str(tmp_path / "state")})
        programs.append(service)
        for number in range(1, 4):
            service.start("system.delivered:1")
            assert await service.ended(40) == -9, service.tail()
            with path.open("a") as file:
                file.write(f'{{"id":"{number}"}}\n')
        service.start()
        async with asyncio.timeout(240):
            while len({event["data"]["id"] for event in receiver.events}) < 4:
                await asyncio.sleep(0.05)
        assert await service.stop() == 0, service.tail()
    assert len(receiver.events) == 1 + 2 + 3 + 4
    assert len({(event["id"], event["data"]["id"]) for event in receiver.events}) == 4


@pytest.mark.timeout(900)
async def test_events_that_are_refused_are_kept_once_and_stop_nothing(tmp_path: Path, programs: list[Program]) -> None:
    """The other side names them; the process is killed where the events beside them are stored and nothing else is."""
    write(tmp_path)
    bad = [3, 4, 30, 59, 150, 199]
    async with Receiver().running() as receiver:
        receiver.refuses = lambda event: int(event["data"]["id"]) in bad
        service = system(tmp_path, {"url": receiver.url, "state": str(tmp_path / "state")})
        programs.append(service)
        await crash_and_finish(service, 3)
        async with asyncio.timeout(240):
            while len(set(receiver.ids)) < LINES - len(bad) or len(letters(tmp_path / "state")) < len(bad):
                await asyncio.sleep(0.05)
        assert await service.stop() == 0, service.tail()
    arrived = [event["data"]["id"] for event in receiver.events]
    assert list(dict.fromkeys(arrived)) == [str(number) for number in range(LINES) if number not in bad]
    kept = letters(tmp_path / "state")
    assert [json.loads(base64.b64decode(letter["value_base64"]))["data"]["id"] for letter in kept] == list(
        map(str, bad)
    )
    assert {letter["stage"] for letter in kept} == {"entity"}
    saved = await asyncio.to_thread(CheckpointFiles(tmp_path / "state" / "checkpoints").parts, "lines")
    counts = json.loads(saved["lines/~trelay"])
    assert counts == {"rows": LINES, "published": LINES - len(bad), "rejected": len(bad)}


@pytest.mark.timeout(900)
async def test_an_event_that_is_too_large_for_the_experience_layer_is_put_aside(
    tmp_path: Path, migrated_database: DatabaseOptions, programs: list[Program]
) -> None:
    """Its limit is lower than that of the system layer, so that it answers 413 and names the event."""
    lines = [{"id": str(number), "text": "x" * (70_000 if number == 2 else 1)} for number in range(5)]
    (tmp_path / "a.ndjson").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    small = {"kind": "postgres", "topics": {"largest_frame": 65_536}}
    database = {"database": {"url": migrated_database.url}}
    section = {"entity": {"allow": ["127.0.0.0/8"]}}
    experience = program(tmp_path, "experience_api", {**database, "bus": small, "experience": section})
    url = experience.ready_url.replace("readyz", "entity")
    service = system(tmp_path, {"url": url, "state": str(tmp_path / "state")})
    programs += [experience, service]
    experience.start()
    await experience.ready()
    service.start()
    async with connect(OPTIONS, migrated_database) as bus, asyncio.timeout(240):
        while (found := (await published(bus, OPTIONS, ["c"]))["c"]) != ["0", "1", "3", "4"]:
            assert found == ["0", "1", "3", "4"][: len(found)]
            await asyncio.sleep(0.1)
    assert await service.stop() == 0, service.tail()
    (letter,) = letters(tmp_path / "state")
    assert "answered 413: event 2: found" in letter["error"]
    assert "of its" in letter["error"]


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
