"""Replicas are killed again and again: behind a `repartition`, each event comes once, in order, and counts once."""

import asyncio
import json
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from shared.bus.connect import BusOptions
from shared.bus.protocol import Bus, Transaction
from shared.bus.topics import TopicsOptions
from tests.e2e.hops import records
from tests.integration.services.process_api.test_crashes import SUBJECTS, Deployment, bus_options
from tests.servers.migrated import with_tables

__all__ = ["bus_options"]

START = datetime(2026, 1, 1, tzinfo=UTC)
FAILPOINTS = ["process.before-submit", "bus.written", "bus.committed"]
GROUPS = 7
"""The events of each subject are in several groups, and each group has events of several partitions."""


class RepartitioningDeployment(Deployment):
    """Events that are grouped by another key than their subject."""

    failpoints: ClassVar = FAILPOINTS
    pipelines: ClassVar = {
        "groups": {
            "sources": ["numbers"],
            "channel": "groups",
            "steps": [{"repartition": "group"}, {"map": '{"n": n, "half": n % 17 = 5 ? $error("odd one") : n / 2}'}],
        },
        "totals": {
            "sources": ["numbers"],
            "channel": "totals",
            "steps": [
                {"dedupe": {"by": "n", "within": 86400}},
                {"repartition": "group"},
                {"aggregate": {"window": {"tumbling": 86400}, "values": {"n": "count", "sum": {"sum": "n"}}}},
            ],
        },
    }
    last: int | None = None
    """From this event on, the events end the windows."""

    def content(self, number: int) -> tuple[bytes, bytes]:
        days = 0 if self.last is None else 2
        time = (START + timedelta(days=days, seconds=number)).isoformat().encode()
        return time, b'{"n":%d,"group":"g%d"}' % (number, number % GROUPS)

    async def end_windows(self, bus: Bus) -> None:
        """Write an event of each group, whose time is after the windows of the others."""
        self.last = self.count
        transaction = Transaction()
        for _ in range(GROUPS):
            self._append(transaction)
        async with bus.writer("system.numbers") as writer:
            await writer.commit(transaction)


class Outcome:
    """What is on the publish topic, by group, and the dead letters."""

    def __init__(self) -> None:
        self.groups: dict[str, list[int]] = defaultdict(list)
        self.totals: list[tuple[str, int, int]] = []
        self.dead: list[str] = []

    @property
    def count(self) -> int:
        return sum(map(len, self.groups.values())) + len(self.dead)


async def outcome(bus: Bus, topics: TopicsOptions) -> Outcome:
    found = Outcome()
    for topic in (topics.publish, topics.dead_letter):
        async for record in records(bus, topic):
            if topic == topics.dead_letter:
                found.dead.append((record.key or b"").decode())
                continue
            event = json.loads(record.value or b"")
            data = event["data"]
            if event["channel"] == "totals":
                found.totals.append((event["subject"], data["n"], data["sum"]))
            else:
                found.groups[event["subject"]].append(data["n"])
    return found


async def reached(bus: Bus, topics: TopicsOptions, count: int, totals: int) -> None:
    """Wait until so many events and totals are there, or more."""
    async with asyncio.timeout(240):
        while (found := await outcome(bus, topics)).count < count or len(found.totals) < totals:
            await asyncio.sleep(0.5)


def check(found: Outcome, count: int, ended: int) -> None:
    """Check what came of so many events, of which those before `ended` are in windows that have ended."""
    odd = [number for number in range(count) if number % 17 == 5]
    assert sorted(found.dead) == sorted(f"numbers:{number}" for number in odd)
    groups = {f"g{group}": [n for n in range(group, count, GROUPS) if n not in odd] for group in range(GROUPS)}
    assert {group: sorted(numbers) for group, numbers in found.groups.items()} == groups
    for numbers in found.groups.values():
        for subject in range(SUBJECTS):
            of_subject = [number for number in numbers if number % SUBJECTS == subject]
            assert of_subject == sorted(of_subject), "out of order"
    totals = [(f"g{group}", range(group, ended, GROUPS)) for group in range(GROUPS)]
    assert sorted(found.totals) == [(group, len(numbers), sum(numbers)) for group, numbers in totals]


@pytest.mark.parametrize("rounds", [1, pytest.param(15, marks=pytest.mark.chaos)])
@pytest.mark.timeout(2400)
async def test_events_behind_a_repartition_are_lost_repeated_and_counted_twice_nowhere(
    tmp_path: Path, databases: Any, bus_options: BusOptions, rounds: int, seed: int
) -> None:
    async with databases.fresh(with_tables) as database:
        names = "abc" if rounds > 1 else "ab"
        deployment = RepartitioningDeployment(tmp_path, database, bus_options, random.Random(seed), names)
        failures = ["kill", "pause", *FAILPOINTS] if rounds > 1 else [deployment.rng.choice(["kill", *FAILPOINTS])]
        topics = bus_options.topics
        async with deployment.running() as bus:
            await deployment.ready()
            await deployment.write(bus, 8)  # every group, whatever the seed
            for _ in range(rounds):
                for failure in deployment.rng.sample(failures, len(failures)):
                    await deployment.inject(failure, bus)
            await deployment.ready()
            await reached(bus, topics, deployment.count, 0)
            ended = deployment.count
            await deployment.end_windows(bus)
            await reached(bus, topics, deployment.count, GROUPS)
            await deployment.stop()
            found = await outcome(bus, topics)
    check(found, deployment.count, ended)
