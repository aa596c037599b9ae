"""Replicas are killed again and again: the state of the pipelines moves with its partitions, exactly once."""

import asyncio
import json
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from shared.bus.connect import BusOptions
from shared.bus.partitioning import partition_of
from shared.bus.protocol import Bus, Transaction
from shared.bus.topics import TopicsOptions
from tests.e2e.hops import records
from tests.integration.services.process_api.test_crashes import SUBJECTS, Deployment, bus_options
from tests.servers.migrated import with_tables

__all__ = ["bus_options"]

START = datetime(2026, 1, 1, tzinfo=UTC)
FAILPOINTS = ["process.before-submit", "bus.written", "bus.committed"]
GROUP = 4 * SUBJECTS
"""Events, of which those of one subject are equal."""
WINDOW = 40
"""Seconds; an event is a second after the one before."""
ANSWERED, ANSWER_AFTER = 8, 3
"""Each eighth event of a subject is answered, and after how many seconds."""
WITHIN, PAIRS_LATENESS, SESSION, SESSIONS_LATENESS = 50, 80, 5, 120
"""Seconds; ten events of a subject wait, and as many sessions are open: more than one value of the state holds."""


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
        "pairs": {
            "sources": ["numbers", "answers"],
            "channel": "pairs",
            "steps": [
                {
                    "join": {
                        "left": "numbers",
                        "right": "answers",
                        "within": WITHIN,
                        "lateness": PAIRS_LATENESS,
                        "mode": "left",
                        "merge": '{"n": left.n, "answer": right.n}',
                    }
                }
            ],
        },
        "visits": {
            "sources": ["numbers", "answers"],
            "channel": "visits",
            "steps": [
                {
                    "aggregate": {
                        "window": {"session": SESSION},
                        "lateness": SESSIONS_LATENESS,
                        "values": {"n": "count", "sum": {"sum": "n"}},
                    }
                }
            ],
        },
        "newest": {"sources": ["numbers"], "channel": "newest", "steps": [{"latest": {"every": 50}}]},
    }

    def options(self, folder: Path, name: str) -> dict[str, Any]:
        return {"state": {"directory": str(folder / "state")}} if name == "b" else {}

    def content(self, number: int) -> tuple[bytes, bytes]:
        return time_of(number), b'{"n":%d,"group":%d}' % (number, number // GROUP)

    def _append(self, transaction: Transaction) -> None:
        number = self.count
        super()._append(transaction)
        if is_answered(number):
            self._append_event(transaction, "answers", number, time_of(number + ANSWER_AFTER), b'{"n":%d}' % number)


def time_of(second: int) -> bytes:
    return (START + timedelta(seconds=second)).isoformat().encode()


def is_answered(number: int) -> bool:
    return number // SUBJECTS % ANSWERED == ANSWERED // 2


class Outcome:
    """What is on the publish topic, by subject, and the dead letters."""

    def __init__(self) -> None:
        self.firsts: dict[int, list[int]] = defaultdict(list)
        self.sums: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        self.pairs: dict[int, list[tuple[int, int | None]]] = defaultdict(list)
        self.visits: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        self.newest: dict[int, list[int]] = defaultdict(list)
        self.dead: list[str] = []

    def add(self, event: dict[str, Any]) -> None:
        subject, data = int(event["subject"][1:]), event["data"]
        if event["channel"] in {"sums", "visits"}:
            start = int((datetime.fromisoformat(data["start"]) - START).total_seconds())
            windows = self.sums if event["channel"] == "sums" else self.visits
            windows[subject].append((start, data["n"], data["sum"]))
        elif event["channel"] == "pairs":
            self.pairs[subject].append((data["n"], data.get("answer")))
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
    for subject in range(SUBJECTS):
        partition = partition_of(b"s%d" % subject, partitions)
        _add_groups(found, subject, range(subject, count, SUBJECTS), _time_reached(count, partition, partitions))
    return found


def _time_reached(count: int, partition: int, partitions: int) -> int:
    """Return the time of the newest event of a partition, the answers among them."""
    times = (
        number + (ANSWER_AFTER if is_answered(number) else 0)
        for number in range(count)
        if partition_of(b"s%d" % (number % SUBJECTS), partitions) == partition
    )
    return max(times, default=0)


def _add_groups(found: Outcome, subject: int, numbers: range, time: int) -> None:
    """Add the pairs and the sessions of a subject."""
    answers = [number for number in numbers if is_answered(number)]
    for number in numbers:
        matches = [answer for answer in answers if abs(number - answer - ANSWER_AFTER) <= WITHIN]
        found.pairs[subject] += [(number, answer) for answer in matches]
        if not matches and number + WITHIN + PAIRS_LATENESS < time:
            found.pairs[subject].append((number, None))
        size, end = (2, number + ANSWER_AFTER + SESSION) if number in answers else (1, number + SESSION)
        if end + SESSIONS_LATENESS <= time:
            found.visits[subject].append((number, size, size * number))


def differs(found: Outcome, wanted: Outcome, count: int) -> str:
    """Return what is not as it should be."""
    faults = [name for name in ("firsts", "sums", "visits") if getattr(found, name) != getattr(wanted, name)]
    faults += [
        f"pairs of {subject}" for subject, pairs in wanted.pairs.items() if not _same(found.pairs[subject], pairs)
    ]
    faults += ["dead"] * (sorted(found.dead) != sorted(wanted.dead))
    for subject in range(min(SUBJECTS, count)):
        newest = found.newest[subject]
        if newest != sorted(set(newest)) or newest[-1:] != [count - 1 - (count - 1 - subject) % SUBJECTS]:
            faults.append(f"newest of {subject}")
    return ", ".join(faults)


def _same(found: list[tuple[int, int | None]], wanted: list[tuple[int, int | None]]) -> bool:
    """Whether these are the same pairs, each once."""
    return sorted(found, key=str) == sorted(wanted, key=str)


@pytest.mark.parametrize("rounds", [1, pytest.param(15, marks=pytest.mark.chaos)])
@pytest.mark.timeout(2400)
async def test_state_is_lost_and_counted_twice_nowhere(
    tmp_path: Path, databases: Any, bus_options: BusOptions, rounds: int, seed: int
) -> None:
    async with databases.fresh(with_tables) as database:
        names = "abc" if rounds > 1 else "ab"
        deployment = StatefulDeployment(tmp_path, database, bus_options, random.Random(seed), names)
        failures = ["kill", "pause", *FAILPOINTS] if rounds > 1 else ["kill", deployment.rng.choice(FAILPOINTS)]
        async with deployment.running() as bus:
            for _ in range(rounds):
                for failure in deployment.rng.sample(failures, len(failures)):
                    await deployment.inject(failure, bus)
            await deployment.ready()
            wanted = expected(deployment.count, bus_options.topics.partitions)
            async with asyncio.timeout(240):
                while differs(await outcome(bus, bus_options.topics), wanted, deployment.count):
                    await asyncio.sleep(0.5)
            await deployment.stop()
            found = await outcome(bus, bus_options.topics)
    assert not differs(found, wanted, deployment.count), f"seed {seed}"
