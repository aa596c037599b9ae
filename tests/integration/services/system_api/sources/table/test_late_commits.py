"""Sixteen writers, of whose transactions one in a hundred stays open: a watermark loses rows, Trelay loses none.

The service runs as a process and is killed twice while it reads. Two sources read the same table, one by key, one by
the time of the last update; at the same time two readers with a plain watermark read it, as is common.
"""

import asyncio
import contextlib
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from services.standalone.embedded.process import free_port
from shared.bus.connect import connect
from shared.bus.postgres import PostgresBusOptions
from shared.database.options import DatabaseOptions
from tests.e2e.programs import Program
from tests.integration.services.system_api.sources.table.table_poller import connected
from tests.servers.migrated import with_tables

WRITERS = 16
RUNS = 3
OPEN = 0.8
"""Seconds that such a transaction stays open."""
POLL = 0.05

TABLE = """
    CREATE SCHEMA shop;
    CREATE TABLE shop.orders (
        id bigserial PRIMARY KEY, state int NOT NULL DEFAULT 0, changed timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX ON shop.orders (changed, id);
"""

State = tuple[int, int]
"""A row's id and its state."""


@dataclass
class Writers:
    """The applications that write to the table."""

    dsn: str
    seed: int
    stop: bool = False
    ended: bool = False
    states: dict[int, int] = field(default_factory=dict)
    """The last state of each row that was committed."""

    async def run(self) -> None:
        await asyncio.gather(*(self._write(random.Random(f"{self.seed} {number}")) for number in range(WRITERS)))
        self.ended = True

    async def _write(self, rng: random.Random) -> None:
        async with connected(self.dsn) as connection:
            mine: list[int] = []
            while not self.stop:
                roll_back, written = rng.random() < 0.02, dict[int, int]()
                with contextlib.suppress(_RolledBack):
                    async with connection.transaction():
                        if mine and rng.random() < 0.3:
                            await self._update(connection, rng.choice(mine), written)
                        else:
                            statement = "INSERT INTO shop.orders DEFAULT VALUES RETURNING id"
                            written[await connection.fetchval(statement)] = 0
                        if rng.random() < 0.01:
                            await asyncio.sleep(OPEN)
                        if roll_back:
                            raise _RolledBack
                    self.states |= written
                    mine += [key for key, state in written.items() if state == 0]
                await asyncio.sleep(rng.uniform(0, 0.03))

    async def _update(self, connection: asyncpg.Connection, key: int, written: dict[int, int]) -> None:
        statement = "UPDATE shop.orders SET state = state + 1, changed = now() WHERE id = $1 RETURNING state"
        written[key] = await connection.fetchval(statement, key)


class _RolledBack(Exception):
    pass


async def watermark(writers: Writers, column: str, first: Any) -> set[State]:
    """Read with a watermark: remember the highest value, and select the rows above it."""
    found: set[State] = set()
    statement = f"SELECT id, state, {column} FROM shop.orders WHERE {column} > $1 ORDER BY {column}"
    async with connected(writers.dsn) as connection:
        last_round = False
        while not last_round:
            last_round = writers.ended
            for key, state, value in await connection.fetch(statement, first):
                found.add((key, state))
                first = value
            await asyncio.sleep(POLL)
    return found


def lost(found: set[State], states: dict[int, int]) -> int:
    """Count the rows whose last state was not found."""
    return len(states.items() - found)


def program(folder: Path, dsn: str, bus: PostgresBusOptions) -> Program:
    port = free_port()
    source = {"kind": "table", "url": dsn, "table": "shop.orders", "type": "order", "interval": POLL, "batch": 50}
    sources = {
        "by-key": source | {"channel": "key"},
        "by-time": source | {"channel": "time", "updated_at_column": "changed"},
    }
    settings = {
        "database": {"url": dsn},
        "bus": bus.model_dump(mode="json", exclude_none=True),
        "system": {"node": "only", "listen": {"port": port}, "sources": sources},
    }
    config = folder / "trelay.yaml"
    config.write_text(yaml.safe_dump(settings))
    arguments = ["-m", "services.system_api", "--config", str(config)]
    return Program("system", arguments, f"http://127.0.0.1:{port}/readyz", folder / "system.log")


async def published(bus: PostgresBusOptions, dsn: str) -> dict[str, list[State]]:
    """Return the states on the publish topic, by channel."""
    found: dict[str, list[State]] = {"key": [], "time": []}
    topic = bus.topics.publish
    async with connect(bus, DatabaseOptions(url=dsn)) as opened:
        bounds = await opened.bounds(topic)
        async with opened.reader(topic, {number: first for number, (first, _) in bounds.items()}) as reader:
            while any(reader.positions[number] < end for number, (_, end) in bounds.items()):
                for record in await reader.read(wait=1.0):
                    event = json.loads(record.value or b"")
                    found[event["channel"]].append((event["data"]["id"], event["data"]["state"]))
    return found


def complete(found: dict[str, list[State]], states: dict[int, int]) -> bool:
    by_key = {key for key, _ in found["key"]}
    return states.keys() <= by_key and not lost(set(found["time"]), states)


@pytest.mark.every_postgres
@pytest.mark.timeout(900)
async def test_no_row_is_lost_to_a_late_commit_and_none_is_published_twice(
    tmp_path: Path, databases: Any, record_property: Any, seed: int
) -> None:
    async with databases.fresh(with_tables) as dsn:
        async with connected(dsn) as connection:
            await connection.execute(TABLE)
        bus = PostgresBusOptions()
        service = program(tmp_path, dsn, bus)
        service.start()
        await service.ready()
        writers = Writers(dsn, seed)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(writers.run())
            naive_key = tasks.create_task(watermark(writers, "id", 0))
            naive_time = tasks.create_task(watermark(writers, "changed", datetime(2000, 1, 1, tzinfo=UTC)))
            for run in range(RUNS):
                # Long enough for the source to read and for a few transactions to stay open.
                await asyncio.sleep(random.Random(f"{seed} {run}").uniform(1.2, 1.8))
                if run < RUNS - 1:
                    service.kill()
                    service.start()
                    await service.ready()
            writers.stop = True
        found = await published(bus, dsn)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                while not complete(found, writers.states):
                    await asyncio.sleep(POLL)
                    found = await published(bus, dsn)
        assert await service.stop() == 0, service.tail()
        found = await published(bus, dsn)
    states = writers.states
    figures = {
        "rows": len(states),
        "lost by the key's watermark": lost({(key, 0) for key, _ in naive_key.result()}, dict.fromkeys(states, 0)),
        "lost by the time's watermark": lost(naive_time.result(), states),
        "lost by key": len(states.keys() - {key for key, _ in found["key"]}),
        "lost by time": lost(set(found["time"]), states),
        "twice by key": sum(count - 1 for count in Counter(key for key, _ in found["key"]).values()),
        "twice by time": sum(count - 1 for count in Counter(found["time"]).values()),
    }
    print(figures)
    record_property("late commits", figures)
    assert figures["lost by the key's watermark"] > 0
    assert figures["lost by the time's watermark"] > 0
    assert [count for name, count in figures.items() if " by key" in name or " by time" in name] == [0, 0, 0, 0]
