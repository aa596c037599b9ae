"""Runs the system layer as processes, and reads what they have published."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.standalone.embedded.process import free_port
from shared.bus.connect import BusOptions
from shared.bus.protocol import Bus
from tests.e2e.programs import Program


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    """Programs that are added here are killed when the test ends."""
    started: list[Program] = []
    yield started
    for program in started:
        if program.starts:
            program.kill()


def program(folder: Path, database: str, bus: BusOptions, sources: dict[str, Any], *, node: str) -> Program:
    """Return one replica of the service."""
    port = free_port()
    settings = {
        "database": {"url": database},
        "bus": bus.model_dump(mode="json", exclude_none=True),
        "system": {"node": node, "lease_seconds": 3, "listen": {"port": port}, "sources": sources},
    }
    config = folder / f"{node}.yaml"
    config.write_text(yaml.safe_dump(settings))
    arguments = ["-m", "services.system_api", "--config", str(config)]
    return Program(node, arguments, f"http://127.0.0.1:{port}/readyz", folder / f"{node}.log")


def file_source(path: Path, **more: Any) -> dict[str, Any]:
    """Return the settings of a file source."""
    return {"kind": "file", "path": str(path), "type": "t", "subject": "id", "interval": 0.05, "batch": 20} | more


async def published(bus: Bus, options: BusOptions, channels: Sequence[str]) -> dict[str, list[str]]:
    """Return the ids in the data of all events on the publish topic, by channel, in order."""
    found: dict[str, list[str]] = {channel: [] for channel in channels}
    for event in await published_events(bus, options):
        found[event["channel"]].append(event["data"]["id"])
    return found


async def published_events(bus: Bus, options: BusOptions) -> list[dict[str, Any]]:
    """Return all events on the publish topic, in the order of each channel."""
    topic = options.topics.publish
    bounds = await bus.bounds(topic)
    found: list[dict[str, Any]] = []
    async with bus.reader(topic, {number: first for number, (first, _) in bounds.items()}) as reader:
        while any(reader.positions[number] < end for number, (_, end) in bounds.items()):
            found += [json.loads(record.value or b"") for record in await reader.read(wait=1.0)]
    return found
