"""Each service, started before everything that it needs: it names what it waits for, and continues from there."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.standalone.embedded.kafka import KafkaServer
from services.standalone.embedded.postgres import PostgresServer
from services.standalone.embedded.process import free_port
from tests.e2e.deployments import write_settings
from tests.e2e.programs import Program
from tests.servers.smtp import MailServer

SERVICES = ("system", "process", "experience")
DATABASE, BUS = "database 127.0.0.1:{database}", "Kafka at 127.0.0.1:{kafka}"
WAITS_FOR = {
    "system": {"lease_store": DATABASE, "bus": "waiting for lease_store"},
    "process": {"bus": BUS},
    "experience": {
        "registry": DATABASE,
        "node_lease": "not connected yet",
        "bus": BUS,
        "stream": "waiting for bus",
    },
}
"""By service: the parts that `/readyz` names, each with what its reason holds."""
LOGGED = {
    "system": ["lease_store", "mail"],
    "process": ["bus", "mail"],
    "experience": ["bus", "mail", "registry"],
}
"""By service: the parts whose turn to be connected has come."""
TIMEOUT = 240.0
WHILE = 5.0
"""Seconds of waiting in which each part is tried several times."""


@asynccontextmanager
async def running(folder: Path, services: tuple[str, ...], ports: Mapping[str, int]) -> AsyncIterator[list[Program]]:
    """Start services, whose Kafka, database and mail server are at `ports`, and wait until they listen."""
    programs = [_program(folder, name, ports) for name in services]
    try:
        for program in programs:
            program.start()
        for program in programs:
            await alive(program)
        yield programs
    finally:
        for program in programs:
            program.kill()


def _program(folder: Path, name: str, ports: Mapping[str, int]) -> Program:
    port = free_port()  # of the listener for operators: that for subscribers shows no reasons
    settings: dict[str, Any] = {
        "database": {"url": f"postgresql://trelay@127.0.0.1:{ports['database']}/trelay"},
        "bus": {"kind": "kafka", "servers": f"127.0.0.1:{ports['kafka']}", "topics": {"partitions": 1}},
        "alerts": {
            "smtp": {"host": "127.0.0.1", "port": ports["mail"], "security": "none"},
            "recipients": ["devops@example.com"],
        },
        name: {"listen": {"port": 0, "health": {"port": port}}},
    }
    home = folder / name
    home.mkdir()
    config = write_settings(home, settings)
    arguments = ["-m", f"services.{name}_api", "--config", str(config)]
    return Program(name, arguments, f"http://127.0.0.1:{port}/readyz", home / "log")


async def ask(program: Program, path: str) -> tuple[int, dict[str, Any]]:
    url = program.ready_url.replace("/readyz", path)
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.json()


async def alive(program: Program) -> None:
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                assert await ask(program, "/healthz") == (200, {"alive": True})
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)
            else:
                return


async def waiting(program: Program, *parts: str) -> dict[str, str]:
    """Return what it waits for once that includes `parts`."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            status, found = await ask(program, "/readyz")
            if status == 503 and set(parts) <= found["missing"].keys():
                return dict(found["missing"] | found["notes"])
            await asyncio.sleep(0.05)


def lines(program: Program) -> list[dict[str, Any]]:
    return [json.loads(line) for line in program.log.read_text().splitlines()]


@pytest.mark.timeout(900)
async def test_waiting_services_name_the_missing_parts_and_stop_on_sigterm(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("database", "kafka", "mail")}
    async with running(tmp_path, SERVICES, ports) as programs, asyncio.TaskGroup() as tasks:
        for program in programs:
            tasks.create_task(names_the_missing_parts_and_stops(program, ports))


async def names_the_missing_parts_and_stops(program: Program, ports: Mapping[str, int]) -> None:
    expected = WAITS_FOR[program.name]
    begun, said = time.monotonic(), dict[str, str]()
    while time.monotonic() - begun < WHILE:
        said = await waiting(program, *expected)
        await asyncio.sleep(0.2)
    for part, reason in expected.items():
        assert reason.format(**ports) in said[part]
    assert f"127.0.0.1:{ports['mail']}: connection refused" in said["mail"]
    begun = time.monotonic()
    assert await program.stop() == 0
    assert time.monotonic() - begun < 60
    logged = lines(program)
    assert {(line["service"], line["version"]) for line in logged} == {(f"{program.name}_api", version("trelay"))}
    assert len({line["node"] for line in logged}) == 1
    told = [line for line in logged if "component" in line]
    assert sorted(line["component"] for line in told) == LOGGED[program.name]
    for line in told:
        assert (line["message"], line["error"]) == ("unavailable", said[line["component"]])
    rest = [line["message"] for line in logged if "component" not in line]
    assert rest == ["started", "shutdown requested", "stopping"]


@pytest.mark.timeout(900)
async def test_all_become_ready_when_what_they_need_comes_and_outlive_its_restart(
    tmp_path: Path, own_postgres: PostgresServer, own_kafka: KafkaServer, smtp: MailServer
) -> None:
    database = int(re.sub(r".*:(\d+)/.*", r"\1", own_postgres.dsn()))
    ports = {"database": database, "kafka": int(own_kafka.bootstrap.rpartition(":")[2]), "mail": smtp.port}
    smtp.down()
    await asyncio.gather(asyncio.to_thread(own_postgres.stop), asyncio.to_thread(own_kafka.stop))
    async with running(tmp_path, SERVICES, ports) as programs:
        for program in programs:
            await waiting(program, *WAITS_FOR[program.name])
        await asyncio.to_thread(own_postgres.start)
        await waiting(programs[0], "bus")
        await asyncio.to_thread(own_kafka.start)
        smtp.up()
        for program in programs:
            await program.ready(TIMEOUT)
            await until_noted(program, {})
        # Both stop and start again.
        await asyncio.gather(asyncio.to_thread(own_postgres.stop), asyncio.to_thread(own_kafka.kill))
        for program in programs:
            await waiting(program)
        await asyncio.gather(asyncio.to_thread(own_postgres.start), asyncio.to_thread(own_kafka.start))
        for program in programs:
            await program.ready(TIMEOUT)
        assert [await program.stop() for program in programs] == [0, 0, 0]
        for program in programs:
            assert program.starts == 1
            assert not [line for line in lines(program) if line["level"] == "critical"]


async def until_noted(program: Program, notes: dict[str, str]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while (await ask(program, "/readyz"))[1]["notes"] != notes:
            await asyncio.sleep(0.05)
