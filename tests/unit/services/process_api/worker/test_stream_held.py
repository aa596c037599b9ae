"""A partition that one pipeline holds: what the time makes due in the others comes all the same, once."""

import json
import time
from typing import Any

import pytest

from services.process_api.operations.requests import Control
from services.process_api.pipeline.part import Part
from services.process_api.pipeline.selection import Selection
from services.process_api.pipeline.steps.stateful import schedule
from shared.bus.partitioning import partition_of
from shared.bus.protocol import Outgoing
from shared.errors import Unavailable
from shared.events.headers import headers_of
from shared.runtime.clock import SystemClock
from tests.unit.services.process_api.making import event, pipeline
from tests.unit.services.process_api.pipeline.steps.waiting import LookUp, waiting_pipeline
from tests.unit.services.process_api.worker.streaming import TOPICS, Setting, until

LATEST = {"latest": {"every": 300}}
HOUR = 3_600_000


class JumpingClock(SystemClock):
    """It can jump, in seconds."""

    jumped = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.jumped

    def time(self) -> float:
        return super().time() + self.jumped


def published(setting: Setting, channel: str) -> list[int]:
    found = [record for record in setting.records(TOPICS.publish) if record.key == channel.encode()]
    return [json.loads(record.value or b"")["data"]["n"] for record in found]


async def test_a_result_passes_while_a_look_up_of_another_pipeline_holds_the_partition() -> None:
    pipelines = [pipeline(LATEST, name="a", channel="a"), waiting_pipeline(LookUp(), name="b", channel="b")]
    setting = Setting(pipelines=pipelines)
    # Of the first transactions, some fail: neither then nor in the next run does the result come again.
    setting.bus.fail = lambda number: Unavailable("it crashed") if number in {2, 3} else None
    await setting.ingest(1, 2)
    await setting.ingest(3, look="away")
    for _ in range(2):
        async with setting.running() as stream:
            await until(lambda: published(setting, "a")[:2] == [1, 2])
            await until(lambda: bool(stream.held))
        assert (published(setting, "a"), published(setting, "b")) == ([1, 2], [1, 2])
    setting.pipelines = [pipelines[0], pipeline(name="b", channel="b")]
    async with setting.running():
        await until(lambda: published(setting, "b") == [1, 2, 3])
        await until(lambda: published(setting, "a") == [1, 2, 3])


async def test_a_result_passes_while_another_pipeline_is_paused_and_that_of_the_paused_one_waits() -> None:
    setting = Setting()
    async with setting.running() as stream:
        setting.selection = type(setting.selection)([
            (["orders"], pipeline(LATEST, name="a", channel="a")), (["*"], pipeline(LATEST, name="b", channel="b")),
        ])  # fmt: skip
        await setting.ingest(1, 2)
        await until(lambda: published(setting, "a")[:1] == [1])
        await setting.controls.control(setting.bus, "b", Control(paused=True, by="alice"))
        before = published(setting, "b")  # the pause may have come too late to hold its result
        await setting.ingest(3, source="refunds")
        await until(lambda: bool(stream.held))
        await until(lambda: published(setting, "a") == [1, 2])
        assert published(setting, "b") == before
        await setting.controls.control(setting.bus, "b", Control(by="alice"))
        await until(lambda: published(setting, "b")[-1] == 3)


@pytest.mark.parametrize("behind", [[], [LookUp()]], ids=["a record waits", "a result waits"])
async def test_more_results_than_one_call_takes_pass_at_once(behind: list[Any]) -> None:
    clock = JumpingClock()
    pipelines = [
        pipeline({"latest": {"every": HOUR}}, name="a", channel="a"),
        waiting_pipeline({"latest": {"every": HOUR}}, *behind, name="b", channel="b"),
        waiting_pipeline(*([] if behind else [LookUp()]), name="c", channel="c"),
    ]
    setting = Setting(pipelines=pipelines, clock=clock)
    subjects = [f"s{number}" for number in range(1000)]
    one_partition = [each for each in subjects if partition_of(each.encode(), TOPICS.partitions) == 0]
    for subject in one_partition:
        await setting.ingest(1, 2, subject=subject)
    await setting.ingest(1, subject=one_partition[0], look="away")
    if behind:
        await setting.ingest(1, subject=one_partition[1], look="away")
    async with setting.running() as stream:
        wanted = len(one_partition)
        await until(lambda: len(published(setting, "a")) == wanted)
        if not behind:
            await until(lambda: bool(stream.held))
        clock.jumped = 2 * HOUR / 1000
        if behind:
            await setting.ingest(3, subject=one_partition[2])  # wakes the partition, whose wait does not know the jump
        await until(lambda: len(published(setting, "a")) == 2 * wanted)
    made = [transaction.records.get(TOPICS.publish, ()) for transaction in setting.bus.submitted]
    results = [sum(record.key == b"a" for record in records) for records in made]
    assert max(results[-5:]) > 100


async def test_a_result_that_waits_for_a_look_up_keeps_no_result_of_another_pipeline() -> None:
    pipelines = [
        waiting_pipeline(LATEST, LookUp(), name="a", channel="a"),
        pipeline(LATEST, name="b", channel="b"),
    ]
    setting = Setting(pipelines=pipelines)
    await setting.ingest(1)
    await setting.ingest(2, look="away")
    async with setting.running():
        await until(lambda: published(setting, "b") == [1, 2])
        await setting.ingest(3, subject="C-1")
        await until(lambda: published(setting, "b")[2:] == [3])
        assert published(setting, "a")[:1] == [1]
    assert not setting.dead()


async def test_an_event_waits_until_the_part_that_it_goes_on_in_is_loaded_on_this_replica() -> None:
    setting = Setting()
    part = Outgoing(b"C-1", event({"n": 1}), (*headers_of(b"orders 1700000000000 orders:1"), Part("a", 1).header()))
    async with setting.running() as stream:
        before = setting.selection = Selection([(["*"], pipeline(name="a", channel="a"))], time.time)
        await setting.write(part)
        await until(lambda: bool(stream.held))
        assert (published(setting, "a"), setting.dead()) == ([], [])
        divided = Selection([(["*"], pipeline({"repartition": "$string(n)"}, name="a", channel="a"))], time.time)
        divided.replace(before)
        setting.selection = divided
        await until(lambda: published(setting, "a") == [1])
        removed = Selection([(["*"], pipeline(name="a", channel="a"))], time.time)
        removed.replace(divided)
        setting.selection = removed
        await setting.write(part)
        await until(lambda: len(setting.dead()) == 1)
    assert setting.dead() == ["the pipeline 'a' has no part 2 any more, in which the event goes on"]
    assert setting.attempts() == [1]


async def test_a_pipeline_that_takes_no_source_any_more_still_takes_what_waits_between_its_parts() -> None:
    divided = pipeline(
        {"repartition": "$string(group)"}, {"dedupe": {"by": "n", "within": 3600}}, name="a", channel="a"
    )
    setting = Setting(pipelines=[divided])
    async with setting.running():
        await setting.ingest(1, group=7)
        await until(lambda: published(setting, "a") == [1])
        after = Selection([(["none"], divided), (["*"], pipeline(name="b", channel="b"))], time.time)
        after.replace(setting.selection)
        setting.selection = after
        headers = (*headers_of(b"orders 1700000000000 orders:2"), Part("a", 1).header())
        for number in (1, 2):
            value = event({"n": number, "group": 7}, id=f"orders:{number}", subject="7")
            await setting.write(Outgoing(b"7", value, headers))
        await setting.ingest(3, group=7)
        await until(lambda: (published(setting, "a"), published(setting, "b")) == ([1, 2], [3]))
    assert not setting.dead()


async def test_a_heartbeat_comes_up_to_the_time_of_the_event_that_waits() -> None:
    quiet = pipeline({"schedule": {"quiet": 5}}, name="a", channel="a")
    [(step, _)] = quiet._segments[0].timed
    assert isinstance(step, schedule.ScheduleStep)
    step._quiet = 20
    setting = Setting(pipelines=[quiet, waiting_pipeline(LookUp(), name="b", channel="b")])
    await setting.ingest(1)
    written = time.time()
    await until(lambda: time.time() > written + 0.1)
    await setting.ingest(2, look="away")
    async with setting.running() as stream:
        await until(lambda: len(setting.records(TOPICS.publish)) == 3)
        await until(lambda: bool(stream.held))
    types = [json.loads(record.value or b"")["type"] for record in setting.records(TOPICS.publish)]
    assert types.count("heartbeat") == 1, "none for the subject of the event that waits, after its time"
