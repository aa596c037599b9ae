"""The stream on the bus in memory: each event once, in order, whatever fails."""

import asyncio
import json
import random

import pytest

from services.process_api.worker.filler import TransactionOptions
from services.process_api.worker.reporting import PAUSED
from shared.bus.partitioning import partition_of
from shared.bus.protocol import Outgoing, TopicPartition
from shared.errors import Fenced, TrelayError, Unavailable
from shared.events.headers import headers_of
from tests.unit.services.process_api.making import pipeline
from tests.unit.services.process_api.pipeline.steps import functions
from tests.unit.services.process_api.pipeline.steps.waiting import LookUp, waiting_pipeline
from tests.unit.services.process_api.worker.streaming import TOPICS, Setting, until

FUNCTIONS = "tests.unit.services.process_api.pipeline.steps.functions"


async def test_events_are_published_in_order() -> None:
    setting = Setting()
    await setting.ingest(*range(1, 11))
    async with setting.running():
        await until(lambda: setting.published() == list(range(1, 11)))
        await setting.ingest(11)
        await until(lambda: setting.published() == list(range(1, 12)))
    record = setting.records(TOPICS.publish)[0]
    assert (record.key, record.headers) == (b"orders", headers_of(b"orders 1700000000000 orders:1"))


async def test_it_resumes_at_the_committed_offset() -> None:
    setting = Setting()
    await setting.ingest(1, 2, 3)
    async with setting.running():
        await until(lambda: len(setting.published()) == 3)
    await setting.ingest(4)
    async with setting.running():
        await until(lambda: len(setting.published()) == 4)
    assert setting.published() == [1, 2, 3, 4]


async def test_the_offsets_of_filtered_events_are_committed() -> None:
    setting = Setting(pipelines=[pipeline({"filter": "n > 5"})])
    await setting.ingest(1, 2, 3)
    position = TopicPartition(TOPICS.ingest, partition_of(b"C-1", 2))
    async with setting.running() as stream:
        while await setting.bus.committed(stream.group, position) != 3:
            await asyncio.sleep(0.001)
    assert setting.records(TOPICS.publish) == []


async def test_dead_letters_are_written_with_the_outputs() -> None:
    setting = Setting(pipelines=[pipeline({"map": "n = 2 ? missing : $"})])
    await setting.ingest(1, 2, 3)
    await setting.ingest(4, source="unknown")
    await setting.write(Outgoing(b"C-1", b"no event"))
    async with setting.running():
        await until(lambda: len(setting.dead()) == 3)
    assert setting.published() == [1, 3]
    assert [error.partition(":")[0] for error in setting.dead()] == [
        "steps.0.map",
        "no pipeline takes the source 'unknown'",
        "event",
    ]
    assert setting.attempts() == [1, 1, 1]
    alerts = {(each.kind, each.place) for each in setting.alerts.calls}
    assert alerts == {("dead letter", "orders"), ("dead letter", "no pipeline")}
    assert setting.sample("trelay_process_events_taken_total", pipeline="orders") == 3
    assert setting.sample("trelay_process_events_published_total", pipeline="orders") == 2
    assert setting.sample("trelay_process_rejects_total", pipeline="orders") == 1
    assert setting.sample("trelay_process_unclaimed_total") == 2


async def test_one_transaction_fills_while_another_commits() -> None:
    setting = Setting()
    setting.bus.gate.clear()
    async with setting.running():
        await setting.ingest(1)
        await until(lambda: len(setting.bus.submitted) == 1)
        await setting.ingest(2)
        await until(lambda: len(setting.bus.submitted) == 2)
        assert setting.published() == []
        setting.bus.gate.set()
        await until(lambda: setting.published() == [1, 2])


async def test_waiting_events_share_a_transaction_up_to_its_limits() -> None:
    setting = Setting(options=TransactionOptions(events=100))
    await setting.ingest(*range(250))
    async with setting.running():
        await until(lambda: len(setting.published()) == 250)
    sizes = [len(each.records.get(TOPICS.publish, [])) for each in setting.bus.submitted]
    assert sizes == [100, 100, 50]


async def test_a_failed_commit_is_noticed_without_new_input_and_loses_or_repeats_no_event() -> None:
    setting = Setting()
    setting.bus.fail = lambda number: Unavailable("the bus is away") if number in {1, 2} else None
    async with setting.running():
        await setting.ingest(1)
        await until(lambda: setting.published() == [1])
        await setting.ingest(2)
        await until(lambda: setting.published() == [1, 2])
    assert len(setting.bus.submitted) == 4


async def test_a_dead_letter_counts_the_attempts_while_the_bus_was_unavailable() -> None:
    setting = Setting(pipelines=[pipeline({"map": "n in [2, 4] ? missing : $"})])
    setting.bus.fail = lambda number: Unavailable("the bus is away") if number in {0, 1} else None
    await setting.ingest(1, 2, 3)
    async with setting.running():
        await until(lambda: setting.published() == [1, 3])
        await setting.ingest(4)
        await until(lambda: len(setting.dead()) == 2)
    assert setting.attempts() == [3, 1]


async def test_a_dead_letter_counts_the_attempts_of_a_step_that_waited() -> None:
    functions.answering.clear()
    functions.looked_up.clear()
    setting = Setting(pipelines=[pipeline({"python": f"{FUNCTIONS}:look_up"}, {"map": "wait ? missing : $"})])
    await setting.ingest(1)
    await setting.ingest(2, wait=True)
    place = f"{TOPICS.ingest}/{partition_of(b'C-1', 2)}"
    async with setting.running():
        await until(lambda: functions.looked_up.count(2) >= 3)
        assert ("partition paused", place) in setting.alerts.open
        functions.answering.set()
        await until(lambda: len(setting.dead()) == 1)
    assert setting.attempts() == [functions.looked_up.count(2)]


async def test_transactions_after_a_failed_commit_are_repeated() -> None:
    setting = Setting(options=TransactionOptions(events=1))
    failing = {3, 4, 9}
    setting.bus.fail = lambda number: Unavailable("the bus is away") if number in failing else None
    await setting.ingest(*range(20))
    async with setting.running():
        await until(lambda: len(setting.published()) == 20)
    assert setting.published() == list(range(20))


async def test_a_fenced_run_ends() -> None:
    setting = Setting()
    setting.bus.fail = lambda number: Fenced("a newer one has taken over") if number == 0 else None
    await setting.ingest(1, 2)
    async with setting.running():
        await until(lambda: setting.published() == [1, 2])


async def test_a_lookup_that_does_not_answer_pauses_the_partition_after_the_events_before_it() -> None:
    functions.answering.clear()
    setting = Setting(pipelines=[pipeline({"python": f"{FUNCTIONS}:look_up"})])
    await setting.ingest(1, 2)
    await setting.ingest(3, wait=True)
    await setting.ingest(4)
    place = f"{TOPICS.ingest}/{partition_of(b'C-1', 2)}"
    async with setting.running():
        await until(lambda: (PAUSED, place) in setting.alerts.open)
        assert setting.published() == [1, 2]
        functions.answering.set()
        await until(lambda: setting.published() == [1, 2, 3, 4])
        await until(lambda: not setting.alerts.open)
    assert setting.dead() == []


async def test_a_paused_partition_does_not_pause_another() -> None:
    functions.answering.clear()
    setting = Setting(pipelines=[pipeline({"python": f"{FUNCTIONS}:look_up"})])
    other = next(name for name in "abcdefgh" if partition_of(name.encode(), 2) != partition_of(b"C-1", 2))
    await setting.ingest(1, wait=True)
    async with setting.running():
        await setting.ingest(2, subject=other)
        await until(lambda: setting.published() == [2])


async def test_events_that_retention_deleted_are_reported_as_lost() -> None:
    setting = Setting()
    await setting.ingest(*range(10))
    number = partition_of(b"C-1", 2)
    async with setting.running() as stream:
        await until(lambda: len(setting.published()) == 10)
        group = stream.group
    await setting.ingest(*range(10, 20))
    setting.bus.delete_records(TOPICS.ingest, number, 15)
    async with setting.running():
        await until(lambda: len(setting.published()) == 15)
    assert setting.published() == [*range(10), *range(15, 20)]
    assert setting.sample("trelay_process_lost_total") == 5
    assert [each.kind for each in setting.alerts.calls] == ["events lost"]
    assert await setting.bus.committed(group, TopicPartition(TOPICS.ingest, number)) == 20


async def test_a_stop_waits_for_pending_commits() -> None:
    setting = Setting()
    setting.bus.gate.clear()
    async with setting.running():
        await setting.ingest(1)
        await until(lambda: len(setting.bus.submitted) == 1)
        asyncio.get_running_loop().call_later(0.05, setting.bus.gate.set)
    assert setting.published() == [1]


@pytest.mark.parametrize("turns", range(12))
async def test_a_stop_at_the_moment_of_a_failure_is_a_stop(turns: int) -> None:
    setting = Setting()
    setting.bus.gate.clear()
    setting.bus.fail = lambda _number: Unavailable("the bus is away")
    async with asyncio.timeout(60):
        async with setting.running():
            await setting.ingest(1)
            await until(lambda: len(setting.bus.submitted) == 1)
            setting.bus.gate.set()
            for _ in range(turns):
                await asyncio.sleep(0)


async def test_heavy_steps_yield_to_other_tasks() -> None:
    setting = Setting(pipelines=[pipeline({"python": f"{FUNCTIONS}:busy"})])
    await setting.ingest(*range(600))
    turns = 0
    async with setting.running():
        while len(setting.published()) < 600:
            turns += 1
            await asyncio.sleep(0)
    # 600 events of a millisecond each, and the loop comes round at least every few dozen of them.
    assert turns > 10


async def test_the_positions_are_known() -> None:
    setting = Setting()
    await setting.ingest(1, 2, 3)
    async with setting.running() as stream:
        await until(lambda: len(setting.published()) == 3)
        number = partition_of(b"C-1", 2)
        assert dict(stream.positions) == {number: 3, 1 - number: 0}
    assert dict(stream.positions) == {}


async def test_replicas_come_and_go_and_writes_fail_and_each_event_is_published_once_in_order(seed: int) -> None:
    rng = random.Random(seed)
    setting = Setting(options=TransactionOptions(events=7))

    def fail(_number: int) -> TrelayError | None:
        return Unavailable("the bus is away") if rng.random() < 0.1 else None

    setting.bus.fail = fail
    subjects = [f"S-{number}" for number in range(6)]
    count = 0
    for _ in range(12):
        for _ in range(rng.randint(1, 4)):
            size = rng.randint(1, 15)
            await setting.ingest(*range(count, count + size), subject=rng.choice(subjects))
            count += size
        async with setting.running("replica-0"), setting.running("replica-1"):
            await asyncio.sleep(rng.random() * 0.03)
    setting.bus.fail = lambda _number: None
    async with setting.running():
        await until(lambda: len(setting.published()) >= count)
    assert sorted(setting.published()) == list(range(count))
    came, went = by_subject(setting, TOPICS.ingest), by_subject(setting, TOPICS.publish)
    assert went == came


def by_subject(setting: Setting, topic: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in setting.records(topic):
        value = json.loads(record.value)
        found.setdefault(value["subject"], []).append(value["id"])
    return found


async def test_a_step_that_waits_holds_its_partition_without_a_restart_and_the_time_is_counted() -> None:
    setting = Setting(pipelines=[waiting_pipeline(LookUp())])
    await setting.ingest(1, 2)
    await setting.ingest(3, look="first")
    await setting.ingest(4)
    async with setting.running():
        await until(lambda: setting.published() == [1, 2, 3, 4])
        await until(lambda: not setting.alerts.open)
    assert [(each.method, each.kind) for each in setting.alerts.calls] == [("begin", PAUSED), ("end", PAUSED)]
    # One writer for each partition was opened: the run went on. The event that waited is a transaction of its own.
    assert len(setting.bus.submitted) == 3
    assert setting.bus.opened == 2
    labels = {"pipeline": "orders", "step": "steps.0.look_up"}
    assert 0.04 < setting.sample("trelay_pipeline_blocked_seconds_total", **labels) < 20
    assert setting.dead() == []
