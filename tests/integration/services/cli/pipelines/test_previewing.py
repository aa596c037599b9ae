"""`trelay preview` on real buses, while a process layer runs: it writes nothing, and no group notices."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from services.cli import main
from services.process_api.app import build_process_api
from services.process_api.settings import ProcessSettings
from shared.bus.connect import connect
from shared.bus.protocol import Bus, Transaction
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from shared.events.headers import headers_of
from tests.unit.services.process_api.making import event

OLD = [{"filter": "n != 3"}, {"set": {"data.seen": True}}]
NEW = [{"filter": "n != 2"}, {"set": {"data.seen": "=n = 4 ? 'four' : true"}}]


@pytest.fixture(params=["postgres", "kafka"])
def bus(request: pytest.FixtureRequest, unique_name: str) -> dict[str, Any]:
    more = {} if request.param == "postgres" else {"servers": request.getfixturevalue("kafka").bootstrap}
    return {"kind": request.param, "topics": {"prefix": unique_name, "partitions": 2}, **more}


def settings(database: DatabaseOptions, bus: dict[str, Any], steps: list[Any]) -> dict[str, Any]:
    pipeline = {"sources": ["orders"], "channel": "orders", "steps": steps}
    process = {"listen": {"port": 0}, "pipelines": {"orders": pipeline}}
    return {"database": {"url": database.url}, "bus": bus, "process": process}


async def ends(bus: Bus, topics: TopicsOptions) -> dict[str, Any]:
    return {topic.name: await bus.bounds(topic.name) for topic in topics.all()}


async def test_a_changed_pipeline_is_shown_and_nothing_is_written(
    migrated_database: DatabaseOptions, bus: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    running = ProcessSettings.model_validate(settings(migrated_database, bus, OLD))
    topics = running.bus.topics
    changed = tmp_path / "trelay.yaml"
    changed.write_text(json.dumps(settings(migrated_database, bus, NEW)))
    changed.chmod(0o600)
    async with connect(running.bus, running.database) as connected:
        await connected.ensure_topics(topics.all())
        transaction = Transaction()
        for number in range(1, 5):
            value = event({"n": number}, id=f"orders:{number}", subject=f"C-{number}")
            headers = headers_of(f"orders 1700000000000 orders:{number}".encode())
            transaction.append(topics.ingest, b"C-%d" % number, value, headers)
        async with connected.writer("system.orders") as writer:
            await writer.commit(transaction)
        async with build_process_api(running):
            await published(connected, topics, 3)
        before = await ends(connected, topics)
        status = await asyncio.to_thread(main, ["preview", "--pipeline", "orders", "--config", str(changed)])
        assert await ends(connected, topics) == before
    out = capfd.readouterr().out
    assert status == 1
    assert "- orders:2" in out
    assert "+ orders:3" in out
    assert '+    "seen": "four"' in out
    assert out.endswith("4 events: 1 same, 1 changed, 1 only_new, 1 only_old; nothing was written\n")


async def published(bus: Bus, topics: TopicsOptions, count: int) -> None:
    async with asyncio.timeout(60), bus.reader(topics.publish, {0: 0, 1: 0}) as reader:
        while count > 0:
            count -= len(await reader.read(wait=1))
