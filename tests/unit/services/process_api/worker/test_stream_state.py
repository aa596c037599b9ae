"""Pipelines that keep state, on a stream: exactly once whatever fails, and results without input."""

import asyncio
import json
import random
from typing import Any

import pytest

from services.process_api.state.memory import MemoryStores
from services.process_api.worker import stream
from services.process_api.worker.filler import TransactionOptions
from shared.bus.partitioning import partition_of
from shared.bus.protocol import RECORD_LIMIT, TopicPartition
from shared.errors import Unavailable
from tests.unit.services.process_api.making import pipeline
from tests.unit.services.process_api.pipeline.steps.waiting import LookUp, waiting_pipeline
from tests.unit.services.process_api.worker.streaming import TOPICS, Setting, until

DEDUPE = {"dedupe": {"by": "key", "within": 3600}}


async def test_a_restart_keeps_what_was_seen() -> None:
    setting = Setting(pipelines=[pipeline(DEDUPE)])
    await setting.ingest(1, key="a")
    async with setting.running():
        await until(lambda: setting.published() == [1])
    await setting.ingest(2, key="a")
    await setting.ingest(3, key="b")
    async with setting.running():
        await until(lambda: setting.published() == [1, 3])


async def test_a_record_that_a_later_step_rejects_leaves_no_state() -> None:
    setting = Setting(pipelines=[pipeline(DEDUPE, {"filter": "$number(ok) = 1"})])
    await setting.ingest(1, key="a", ok="no")
    await setting.ingest(2, key="a", ok="1")
    await setting.ingest(3, key="a", ok="1")
    async with setting.running():
        await until(lambda: setting.published() == [2])
        assert len(setting.dead()) == 1


async def test_a_held_event_passes_without_input() -> None:
    setting = Setting(pipelines=[pipeline({"latest": {"every": 50}})])
    await setting.ingest(1, 2, 3)
    async with setting.running():
        await until(lambda: setting.published() == [1, 3])
        await setting.ingest(4)
        await until(lambda: setting.published()[2:] == [4])
        state = {record.key: record.value for record in setting.bus.records(TOPICS.state, 0)}
        state |= {record.key: record.value for record in setting.bus.records(TOPICS.state, 1)}
        assert state


async def test_a_held_event_passes_after_a_restart() -> None:
    setting = Setting(pipelines=[pipeline({"latest": {"every": 300}})])
    await setting.ingest(1, 2)
    async with setting.running():
        await until(lambda: setting.published() == [1])
    async with setting.running():
        await until(lambda: setting.published() == [1, 2])


async def test_a_window_that_closes_goes_through_the_steps_behind() -> None:
    window = {"aggregate": {"window": {"tumbling": 60}, "values": {"n": {"sum": "n"}}}}
    setting = Setting(pipelines=[pipeline(window, {"filter": "n > 3"}, {"set": {"data.done": True}})])
    for number, minute in ((1, 0), (2, 0), (10, 1), (20, 2)):
        await ingest_at(setting, number, minute)
    async with setting.running():
        await until(lambda: setting.published() == [10])
    [made] = [json.loads(record.value) for record in setting.records(TOPICS.publish)]
    assert made["data"]["done"] is True
    assert made["subject"] == "C-1"
    assert made["time"] == "2023-11-14T22:16:00.000Z"


async def test_windows_that_end_together_pass_without_another_event() -> None:
    window = {"aggregate": {"window": {"tumbling": 60}, "values": {"n": {"sum": "n"}}}}
    setting = Setting(pipelines=[pipeline(window)])
    for number in range(450):
        await ingest_at(setting, number, 0, subject=f"s{number}")
    for partition in range(TOPICS.partitions):
        subject = setting.bus.records(TOPICS.ingest, partition)[0].key or b""
        await ingest_at(setting, 0, 1, subject=subject.decode())
    async with setting.running():
        await until(lambda: len(setting.published()) >= 450)
    assert sorted(setting.published()) == list(range(450))
    made = [len(transaction.records.get(TOPICS.publish, ())) for transaction in setting.bus.submitted]
    assert max(made) > 100  # one transaction has as many as fit


async def test_a_result_that_is_rejected_is_a_dead_letter_and_its_window_stays_closed() -> None:
    window = {"aggregate": {"window": {"tumbling": 60}, "values": {"n": {"sum": "n"}}}}
    setting = Setting(pipelines=[pipeline(window, {"validate": {"properties": {"n": {"maximum": 5}}}})])
    for number, minute in ((9, 0), (2, 1), (1, 2), (1, 3)):
        await ingest_at(setting, number, minute)
    async with setting.running():
        await until(lambda: setting.published() == [2, 1])
    assert len(setting.dead()) == 1
    [letter] = setting.records(TOPICS.dead_letter)
    assert json.loads(letter.value)["data"]["n"] == 9
    assert letter.key.startswith(b"orders:")
    assert dict(letter.headers)["pipeline"].startswith(b"orders@")


@pytest.mark.parametrize("merge", ["right.n ? right", '{"n": $sqrt(left.n)}'])
async def test_an_unmatched_event_that_cannot_be_merged_is_a_dead_letter(merge: str) -> None:
    step = {"join": {"left": "orders", "right": "orders-b", "within": 60, "mode": "left", "merge": merge}}
    setting = Setting(pipelines=[pipeline(step, {"set": {"data.done": True}})])
    await ingest_at(setting, -1, 0)
    for minute in (3, 6):  # a match, behind the failure
        for source in ("orders", "orders-b"):
            await ingest_at(setting, 4, minute, source=source)
    async with setting.running():
        await until(lambda: len(setting.published()) == 2)
    [error] = setting.dead()
    assert error.startswith("steps.0.join: ")
    [letter] = setting.records(TOPICS.dead_letter)
    assert json.loads(letter.value)["id"] == "orders:-1"
    assert json.loads(letter.value)["data"]["n"] == -1
    assert dict(letter.headers)["pipeline"].startswith(b"orders@")


async def ingest_at(setting: Setting, number: int, minute: int, subject: str = "C-1", source: str = "orders") -> None:
    attributes = {"time": f"2023-11-14T22:{14 + minute}:00Z", "source": f"/sources/{source}"}
    await setting.ingest(number, subject=subject, source=source, attributes=attributes)


async def test_a_result_whose_state_the_bus_would_refuse_stops_no_partition() -> None:
    """No record is to blame for it: to isolate the records of its transaction would not help."""
    steps = [{"latest": {"every": 50}}, {"set": {"data.big": "=big & big & big"}}, {"latest": {"every": 60_000}}]
    setting = Setting(pipelines=[pipeline(*steps, {"drop": "data.big"})])
    setting.bus.limit = RECORD_LIMIT
    await setting.ingest(1, 2, big="x" * 1_500_000)
    async with setting.running():
        await until(lambda: len(setting.dead()) == 1)
        await setting.ingest(3, subject="another", big="x")
        await until(lambda: setting.published() == [1, 3])
    assert setting.dead()[0].startswith("steps.2.latest: its state would have 4500")


@pytest.mark.parametrize("last", [[], [99]])
async def test_a_result_that_waits_for_something_comes_again(last: list[int]) -> None:
    """Also where no further event comes: the window is closed by the event before."""
    window = {"aggregate": {"window": {"tumbling": 60}, "values": {"n": {"sum": "n"}, "look": {"last": "look"}}}}
    setting = Setting(pipelines=[waiting_pipeline(window, LookUp())])
    await setting.ingest(1, look="first", attributes={"time": "2023-11-14T22:14:00Z"})
    await setting.ingest(2, *last, attributes={"time": "2023-11-14T22:15:00Z"})
    async with setting.running():
        await until(lambda: setting.published() == [1])
    assert not setting.dead()


async def test_a_result_of_the_clock_that_waits_for_something_comes_again() -> None:
    window = {"tumbling": 60}
    values = {"n": {"sum": "n"}, "look": {"last": "look"}}
    idle = {"aggregate": {"window": window, "values": values, "idle": 0.05}}
    setting = Setting(pipelines=[waiting_pipeline(idle, LookUp())])
    await setting.ingest(1, look="first", attributes={"time": "2023-11-14T22:14:00Z"})
    async with setting.running():
        await until(lambda: setting.published() == [1])
    assert not setting.dead()


async def test_the_store_follows_the_changelog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_CONFIRM_INTERVAL", 0.01)
    stores = MemoryStores()
    setting = Setting(pipelines=[pipeline(DEDUPE)], stores=stores)
    await setting.ingest(1, key="a")
    partition = partition_of(b"C-1", TOPICS.partitions)
    async with setting.running():
        await until(lambda: setting.published() == [1])
        end = len(setting.bus.records(TOPICS.state, partition))
        number = 1
        # A mark takes a transaction behind it, which proves that the partition is still this replica's.
        while (mark := stores.store(partition).mark) is None or mark.offset < end:
            number += 1
            await setting.ingest(number, key=f"k{number}")
            await until(lambda expected=number: len(setting.published()) == expected)  # type: ignore[misc]
    assert stores.store(partition).mark is None, "the partition is released"


async def test_a_pipeline_that_begins_to_keep_state_in_a_run_gets_some() -> None:
    setting = Setting()
    plain, stateful = setting.pipelines[0], pipeline(DEDUPE)
    async with setting.running():
        await setting.ingest(1, key="a")
        await until(lambda: setting.published() == [1])
        setting.replace(stateful)
        await setting.ingest(2, 3, key="a")
        await until(lambda: setting.published() == [1, 2])
        setting.replace(plain)
        await setting.ingest(4, key="a")
        await until(lambda: setting.published() == [1, 2, 4])
        setting.replace(stateful)
        await setting.ingest(5, 6, key="a")  # what was seen before lacks what the plain pipeline published
        await until(lambda: setting.published() == [1, 2, 4, 5])


@pytest.mark.parametrize("reset", [0, 1])
async def test_state_that_does_not_belong_to_the_offset_is_dropped(reset: int) -> None:
    setting = Setting(pipelines=[pipeline(DEDUPE)])
    await setting.ingest(1, 2, key="a")
    async with setting.running():
        await until(lambda: setting.published() == [1])
    for key in [key for key in setting.bus._offsets if key[0].endswith("process")]:
        setting.bus._offsets[key] = reset
    async with setting.running():
        await until(lambda: setting.published() == [1, 1 + reset])


async def test_failures_anywhere_neither_lose_nor_repeat(seed: int) -> None:
    rng = random.Random(seed)
    window = {"aggregate": {"window": {"tumbling": 60}, "values": {"n": {"sum": "n"}, "count": "count"}}}
    setting = Setting(
        pipelines=[pipeline(window, name="sums"), pipeline(DEDUPE, name="firsts")],
        options=TransactionOptions(events=3),
    )
    setting.bus.fail = lambda _number: Unavailable("random") if rng.random() < 0.2 else None
    expected: dict[int, int] = {}
    keys: dict[int, int] = {}
    for number in range(60):
        minute, key = number // 6, rng.randrange(20)
        await setting.ingest(number, key=key, attributes={"time": f"2023-11-14T22:{14 + minute}:00Z"})
        expected[minute] = expected.get(minute, 0) + number
        keys.setdefault(key, number)
    wanted = [expected[minute] for minute in range(9)]

    def found() -> list[dict[str, Any]]:
        return [json.loads(record.value)["data"] for record in setting.records(TOPICS.publish)]

    for _ in range(4):
        async with setting.running():
            await until(lambda: rng.random() < 0.1 or len(found()) >= len(wanted) + len(keys))
    async with setting.running():
        await until(lambda: len(found()) >= len(wanted) + len(keys))
    assert [data["n"] for data in found() if "final" in data] == wanted
    assert [data["n"] for data in found() if "final" not in data] == sorted(keys.values())
    assert not setting.dead()


async def _processed(setting: Setting) -> int:
    """Return how many records of the ingest topic are committed."""
    places = [TopicPartition(TOPICS.ingest, number) for number in range(TOPICS.partitions)]
    return sum([await setting.bus.committed(TOPICS.process_group, place) or 0 for place in places])


async def test_failures_anywhere_leave_the_results_of_each_subject_to_the_state_behind(seed: int) -> None:
    rng = random.Random(seed)
    window = {"aggregate": {"window": {"tumbling": 60}, "values": {"count": "count"}}}
    behind = {"dedupe": {"by": "count", "within": 86_400}}
    setting = Setting(pipelines=[pipeline(window, behind)], options=TransactionOptions(events=3))
    setting.bus.fail = lambda _number: Unavailable("random") if rng.random() < 0.2 else None
    for number in range(60):
        attributes = {"time": f"2023-11-14T22:{14 + number // 12}:00Z"}
        await setting.ingest(number, subject="ABCD"[number % 4], attributes=attributes)

    def found() -> list[str]:
        return sorted(json.loads(record.value)["subject"] for record in setting.records(TOPICS.publish))

    for _ in range(4):
        async with setting.running():
            await until(lambda: rng.random() < 0.1 or len(found()) >= len("ABCD"))
    async with setting.running():
        await until(lambda: len(found()) >= len("ABCD"))
        async with asyncio.timeout(60):
            while await _processed(setting) < 60:
                await asyncio.sleep(0.002)
    assert found() == list("ABCD"), "each has three events in each minute"
    assert not setting.dead()


async def test_the_steps_of_pipelines_that_wait_are_timed() -> None:
    steps = [{"set": {"data.a": 1}}, LookUp(), DEDUPE, {"set": {"data.b": 1}}]
    setting = Setting(pipelines=[waiting_pipeline(*steps)])
    await setting.ingest(1, 2, 3, key="a")
    async with setting.running():
        await until(lambda: setting.published() == [1])
    for step, count in (("steps.0.set", 1), ("steps.1.look_up", 1), ("steps.2.dedupe", 1), ("steps.3.set", 1)):
        assert setting.sample("trelay_process_step_seconds_count", pipeline="orders", step=step) == count
