"""The least that gives the results of the steps with state: `json.loads` and a dict, nothing that survives a crash."""

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.state.meter import Meter

Given = Iterable[tuple[bytes, bytes]]


def aggregate(given: Given) -> object:
    """Count and sum the windows of each key."""
    windows: dict[tuple[bytes, str], list[Any]] = {}
    for key, value in given:
        event = json.loads(value)
        window = windows.setdefault((key, event["time"][:13]), [0, 0])
        window[0] += 1
        window[1] += event["data"]["amount"]
    return windows


def join(given: Given) -> object:
    """Join each event with those of the other side that wait."""
    waiting: dict[tuple[bytes, bool], list[tuple[datetime, Any]]] = {}
    for key, value in given:
        event = json.loads(value)
        at, left = datetime.fromisoformat(event["time"]), event["source"] == "/sources/orders"
        waiting.setdefault((key, left), []).append((at, event))
        for when, other in waiting.get((key, not left), ()):
            if abs((when - at).total_seconds()) <= 3600:
                one, two = (event, other) if left else (other, event)
                data = {"left": one["data"], "right": two["data"]}
                json.dumps({**event, "id": f"{one['id']}+{two['id']}", "data": data})
    return waiting


def dedupe(given: Given) -> object:
    """Pass the first event of each id."""
    seen: set[tuple[bytes, int]] = set()
    for key, value in given:
        seen.add((key, json.loads(value)["data"]["id"]))
    return seen


def latest(given: Given) -> object:
    """Keep the newest event of each key."""
    newest: dict[bytes, Any] = {}
    for key, value in given:
        newest[key] = json.loads(value)
    return newest


LOOPS: dict[str, Callable[[Given], object]] = {"aggregate": aggregate, "join": join, "dedupe": dedupe, "latest": latest}


def run(name: str, given: list[tuple[bytes, bytes]]) -> None:
    """Run the events through one of them."""
    meter = Meter()
    kept = LOOPS[name](given)
    meter.report(len(given))
    del kept  # until here it takes its memory


async def restore(servers: str, topic: str, keys: int) -> None:
    """Read a changelog into a dict, with a consumer of aiokafka."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    await consumer.start()
    try:
        position = TopicPartition(topic, 0)
        consumer.assign([position])
        meter = Meter()
        found: dict[bytes, bytes] = {}
        while len(found) < keys:
            for record in (await consumer.getmany(timeout_ms=1000)).get(position, ()):
                found[record.key] = record.value
        meter.report(keys)
    finally:
        await consumer.stop()
