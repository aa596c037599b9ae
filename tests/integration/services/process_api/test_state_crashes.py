"""Replicas are killed again and again: the state of the pipelines moves with its partitions, exactly once."""

import asyncio
import json
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from shared.bus.connect import BusOptions, connect
from shared.bus.partitioning import partition_of
from shared.bus.protocol import Bus
from shared.bus.topics import TopicsOptions
from tests.e2e.hops import patient, records
from tests.integration.services.process_api.test_crashes import SUBJECTS, Deployment, bus_options
from tests.servers.migrated import with_tables

__all__ = ["bus_options"]

START = datetime(2026, 1, 1, tzinfo=UTC)
FAILPOINTS = ["process.before-submit", "bus.written", "bus.committed"]
GROUP = 4 * SUBJECTS
"""Events, of which those of one subject are equal."""
WINDOW = 40
"""Seconds; an event is a second after the one before."""


class StatefulDeployment(Deployment):
    """One replica keeps its state on disk, the others in memory."""

    failpoints: ClassVar = FAILPOINTS
    pipelines: ClassVar = {
        "firsts": {
            "sources": ["numbers"],
            "channel": "firsts",
            "steps": [
                {"dedupe": {"by": "group", "within": 86400}},
                {"map": '{"n": n, "half": n % 17 = 5 ? $error("odd one") : n / 2}'},
            ],
        },
        "sums": {
            "sources": ["numbers"],
            "channel": "sums",
            "steps": [{"aggregate": {"window": {"tumbling": WINDOW}, "values": {"n": "count", "sum": {"sum": "n"}}}}],
        },
        "newest": {"sources": ["numbers"], "channel": "newest", "steps": [{"latest": {"every": 50}}]},
    }

    def options(self, folder: Path, name: str) -> dict[str, Any]:
        return {"state": {"directory": str(folder / "state")}} if name == "b" else {}

    def content(self, number: int) -> tuple[bytes, bytes]:
        time = (START + timedelta(seconds=number)).isoformat().encode()
        return time, b'{"n":%d,"group":%d}' % (number, number // GROUP)


class Outcome:
    """What is on the publish topic, by subject, and the dead letters."""

    def __init__(self) -> None:
        self.firsts: dict[int, list[int]] = defaultdict(list)
        self.sums: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        self.newest: dict[int, list[int]] = defaultdict(list)
        self.dead: list[str] = []

    def add(self, event: dict[str, Any]) -> None:
        subject, data = int(event["subject"][1:]), event["data"]
        if event["channel"] == "sums":
            start = int((datetime.fromisoformat(data["start"]) - START).total_seconds())
            self.sums[subject].append((start, data["n"], data["sum"]))
        else:
            (self.firsts if event["channel"] == "firsts" else self.newest)[subject].append(data["n"])


async def outcome(bus: Bus, topics: TopicsOptions) -> Outcome:
    found = Outcome()
    for topic in (topics.publish, topics.dead_letter):
        async for record in records(bus, topic):
            if topic == topics.publish:
                found.add(json.loads(record.value or b""))
            else:
                found.dead.append((record.key or b"").decode())
    return found


def expected(count: int, partitions: int) -> Outcome:
    found = Outcome()
    seen: set[tuple[int, int]] = set()
    ends: dict[int, int] = {}
    windows: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number in range(count):
        subject, group = number % SUBJECTS, (number % SUBJECTS, number // GROUP)
        ends[partition_of(b"s%d" % subject, partitions)] = number
        first = int(START.timestamp())
        windows[subject, (first + number) // WINDOW * WINDOW - first].append(number)
        if group in seen:
            continue
        if number % 17 == 5:
            found.dead.append(f"numbers:{number}")
        else:
            seen.add(group)
            found.firsts[subject].append(number)
    for (subject, start), numbers in windows.items():
        if start + WINDOW <= ends[partition_of(b"s%d" % subject, partitions)]:
            found.sums[subject].append((start, len(numbers), sum(numbers)))
    return found


def differs(found: Outcome, wanted: Outcome, count: int) -> str:
    """Return what is not as it should be."""
    faults = [name for name in ("firsts", "sums") if getattr(found, name) != getattr(wanted, name)]
    faults += ["dead"] * (sorted(found.dead) != sorted(wanted.dead))
    for subject in range(min(SUBJECTS, count)):
        newest = found.newest[subject]
        if newest != sorted(set(newest)) or newest[-1:] != [count - 1 - (count - 1 - subject) % SUBJECTS]:
            faults.append(f"newest of {subject}")
    return ", ".join(faults)


@pytest.mark.parametrize("rounds", [1, pytest.param(15, marks=pytest.mark.chaos)])
@pytest.mark.timeout(2400)
async def test_state_is_lost_and_counted_twice_nowhere(
    tmp_path: Path, databases: Any, bus_options: BusOptions, rounds: int, record_property: Any
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    record_property("seed", seed)
    async with databases.fresh(with_tables) as database:
        names = "abc" if rounds > 1 else "ab"
        deployment = StatefulDeployment(tmp_path, database, bus_options, random.Random(seed), names)
        failures = ["kill", "pause", *FAILPOINTS] if rounds > 1 else ["kill", deployment.rng.choice(FAILPOINTS)]
        async with connect(patient(bus_options), deployment.database) as bus:
            await bus.ensure_topics(bus_options.topics.all())
            for replica in deployment.replicas:
                replica.start()
            try:
                for _ in range(rounds):
                    for failure in deployment.rng.sample(failures, len(failures)):
                        await deployment.inject(failure, bus)
                for replica in deployment.replicas:
                    await replica.ready()
                wanted = expected(deployment.count, bus_options.topics.partitions)
                async with asyncio.timeout(240):
                    while differs(await outcome(bus, bus_options.topics), wanted, deployment.count):
                        await asyncio.sleep(0.5)
                for replica in deployment.replicas:
                    assert await replica.stop() == 0, replica.tail()
                found = await outcome(bus, bus_options.topics)
            finally:
                print(*(replica.tail() for replica in deployment.replicas), sep="\n")
                for replica in deployment.replicas:
                    replica.kill()
    assert not differs(found, wanted, deployment.count), f"seed {seed}"
