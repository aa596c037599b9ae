"""Replicas are killed and paused again and again: each event is published once, in order, or dead-lettered once."""

import asyncio
import contextlib
import json
import os
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event

from services.standalone.embedded.process import free_port
from shared.bus.connect import BusOptions, connect
from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Bus, Record, Transaction
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from shared.events.event import Channel, Envelope, wrap
from shared.events.headers import PROVENANCE, headers_of
from tests.e2e.hops import patient, records
from tests.e2e.programs import Program
from tests.servers.migrated import with_tables

FAILPOINTS = ["process.before-submit", "process.after-submit"]
FAILURES = [*FAILPOINTS, "kill", "kill", "pause"]
SUBJECTS = 13
BIG = 9007199254740993
"""An integer that no double holds."""

PIPELINES = {
    "numbers": {
        "sources": ["numbers"],
        "steps": [
            {"filter": "n >= 0 and skip != true"},
            {"set": {"data.seen": True}},
            {"map": '{"n": n, "big": big, "name": $uppercase(name), "half": n % 17 = 5 ? $error("odd one") : n / 2}'},
            {"route": '"numbers." & $string(n % 3)'},
        ],
    },
    "copies": {"sources": ["numbers"], "channel": "copies"},
}


@pytest.fixture(params=["postgres", "kafka"])
def bus_options(request: pytest.FixtureRequest, unique_name: str) -> BusOptions:
    topics = TopicsOptions(prefix=unique_name)
    if request.param == "postgres":
        return PostgresBusOptions(topics=topics)
    return KafkaOptions(
        servers=request.getfixturevalue("kafka").bootstrap, topics=topics, session_timeout=6, delivery_timeout=8
    )


class Deployment:
    """Replicas, and the events that are written for them."""

    pipelines: ClassVar[dict[str, Any]] = PIPELINES
    failpoints: ClassVar[list[str]] = FAILPOINTS

    def __init__(self, folder: Path, database: str, bus: BusOptions, rng: random.Random, replicas: str = "ab") -> None:
        """`replicas` are their names, a letter each."""
        self.bus = bus
        self.database = DatabaseOptions(url=database)
        self.rng = rng
        self.count = 0
        self.replicas = [self._replica(folder, name) for name in replicas]

    def _replica(self, folder: Path, name: str) -> Program:
        port = free_port()
        config = folder / f"{name}.yaml"
        settings = {
            "database": {"url": self.database.url},
            "bus": self.bus.model_dump(mode="json", exclude_none=True),
            "process": {
                "node": f"replica-{name}",
                "listen": {"port": port},
                "transaction": {"events": 25},
                "pipelines": self.pipelines,
            }
            | self.options(folder, name),
        }
        config.write_text(yaml.safe_dump(settings))
        arguments = ["-m", "services.process_api", "--config", str(config)]
        return Program(name, arguments, f"http://127.0.0.1:{port}/readyz", folder / f"{name}.log")

    def options(self, folder: Path, name: str) -> dict[str, Any]:
        """Return further settings of a replica."""
        return {}

    def content(self, number: int) -> tuple[bytes, bytes]:
        """Return the time and the entity of an event."""
        skip = b"true" if number % 11 == 3 else b"false"
        return b"2026-01-01T00:00:00Z", b'{"n":%d,"big":%d,"name":"n%d","skip":%b}' % (
            number, BIG + number, number, skip,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Bus]:
        """Run the replicas; yield their bus. What they logged last is printed at the end."""
        async with connect(patient(self.bus), self.database) as bus:
            await bus.ensure_topics(self.bus.topics.all())
            for replica in self.replicas:
                replica.start()
            try:
                yield bus
            finally:
                print(*(replica.tail() for replica in self.replicas), sep="\n")
                for replica in self.replicas:
                    replica.kill()

    async def ready(self) -> None:
        """Wait until all replicas are."""
        for replica in self.replicas:
            await replica.ready()

    async def stop(self) -> None:
        """End all replicas, each without an error."""
        for replica in self.replicas:
            assert await replica.stop() == 0, replica.tail()

    async def write(self, bus: Bus, transactions: int) -> None:
        """Write events as the system layer does."""
        async with bus.writer("system.numbers") as writer:
            for _ in range(transactions):
                transaction = Transaction()
                for _ in range(self.rng.randrange(1, 40)):
                    self._append(transaction)
                await writer.commit(transaction)

    def _append(self, transaction: Transaction) -> None:
        number = self.count
        self.count += 1
        self._append_event(transaction, "numbers", number, *self.content(number))

    def _append_event(self, transaction: Transaction, source: str, number: int, time: bytes, data: bytes) -> None:
        subject, identity = f"s{number % SUBJECTS}", f"{source}:{number}"
        value = wrap(
            Envelope(f"/sources/{source}", "number.seen", Channel("ignored")).head(),
            json.dumps(identity).encode(),
            json.dumps(subject).encode(),
            time,
            b"00-%032x-%016x-01" % (number + 1, number + 1),
            data,
        )
        headers = headers_of(f"{source} 1700000000000 {identity}".encode())
        transaction.append(self.bus.topics.ingest, subject.encode(), value, headers)

    async def inject(self, failure: str, bus: Bus) -> None:
        """Kill one replica, at a failpoint or at a random time, or pause it for longer than its session lasts."""
        replica = self.rng.choice(self.replicas)
        if failure in self.failpoints:
            replica.kill()
            replica.start(f"{failure}:{self.rng.randrange(1, 6)}")
        await self.write(bus, self.rng.randrange(3, 12))
        await asyncio.sleep(self.rng.uniform(0, 1.5))
        if failure == "pause":
            await self._pause(replica, bus)
        elif failure == "kill":
            replica.kill()
            replica.start()
        else:
            with contextlib.suppress(TimeoutError):
                await replica.ended(15)
            replica.kill()
            replica.start()

    async def _pause(self, replica: Program, bus: Bus) -> None:
        os.kill(replica.pid, signal.SIGSTOP)
        try:
            for _ in range(8):
                await self.write(bus, 2)
                await asyncio.sleep(1)
        finally:
            os.kill(replica.pid, signal.SIGCONT)
        await self.write(bus, 2)


class Outcome:
    """The events on the publish topic, and the dead letters."""

    def __init__(self) -> None:
        self.numbers: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        """By channel and subject, in their order."""
        self.dead: list[str] = []
        self.count = 0

    def add(self, record: Record, *, dead: bool) -> None:
        self.count += 1
        if dead:
            self.dead.append((record.key or b"").decode())
            return
        event = json.loads(record.value or b"")
        data = event["data"]
        number = data["n"]
        assert event["id"] == f"numbers:{number}"
        assert data["big"] == BIG + number
        assert record.key == event["channel"].encode()
        assert dict(record.headers)[PROVENANCE].endswith(event["id"].encode())
        read = from_kafka_event(KafkaMessage(dict(record.headers), record.key, record.value or b""))
        assert (read.get_id(), read.get_data()) == (event["id"], data), "as the official SDK of CloudEvents reads it"
        if event["channel"] != "copies":
            assert event["channel"] == f"numbers.{number % 3}"
            assert (data["name"], data["half"]) == (f"N{number}", number / 2)
        self.numbers[event["channel"]][number % SUBJECTS].append(number)


async def outcome(bus: Bus, topics: TopicsOptions) -> Outcome:
    found = Outcome()
    for topic in (topics.publish, topics.dead_letter):
        async for record in records(bus, topic):
            found.add(record, dead=topic == topics.dead_letter)
    return found


def expected(count: int) -> tuple[dict[str, dict[int, list[int]]], list[str]]:
    numbers: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    dead = []
    for number in range(count):
        numbers["copies"][number % SUBJECTS].append(number)
        if number % 11 == 3:
            continue
        if number % 17 == 5:
            dead.append(f"numbers:{number}")
        else:
            numbers[f"numbers.{number % 3}"][number % SUBJECTS].append(number)
    return numbers, dead


@pytest.mark.parametrize("rounds", [1, pytest.param(12, marks=pytest.mark.chaos)])
@pytest.mark.timeout(2400)
async def test_every_event_is_published_once_and_in_order_or_dead_lettered_once(
    tmp_path: Path, databases: Any, bus_options: BusOptions, rounds: int, seed: int
) -> None:
    async with databases.fresh(with_tables) as database:
        names = "abc" if rounds > 1 else "ab"
        deployment = Deployment(tmp_path, database, bus_options, random.Random(seed), names)
        async with deployment.running() as bus:
            for _ in range(rounds):
                for failure in deployment.rng.sample(FAILURES, len(FAILURES)):
                    await deployment.inject(failure, bus)
            await deployment.ready()
            numbers, dead = expected(deployment.count)
            total = sum(len(each) for channel in numbers.values() for each in channel.values()) + len(dead)
            async with asyncio.timeout(240):
                while (found := await outcome(bus, bus_options.topics)).count < total:
                    await asyncio.sleep(0.5)
            await deployment.stop()
            found = await outcome(bus, bus_options.topics)
    assert found.numbers == numbers, f"seed {seed}"
    assert sorted(found.dead) == sorted(dead), f"seed {seed}"
