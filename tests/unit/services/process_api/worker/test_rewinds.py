"""Paused and rewound pipelines on a stream: each pipeline takes each event once, and again where it was rewound."""

import asyncio
import json
import logging
from typing import Any

import pytest

from services.process_api.operations import controls
from services.process_api.operations.requests import Control, Rewind, encode, rewind_key
from services.process_api.worker.stream import Stream
from shared.bus.partitioning import partition_of
from shared.bus.protocol import Outgoing, TopicPartition
from shared.errors import Unavailable
from tests.unit.services.process_api.making import pipeline
from tests.unit.services.process_api.pipeline.steps.waiting import LookUp, batches, waiting_pipeline
from tests.unit.services.process_api.worker.streaming import TOPICS, Setting, until

PARTITION = partition_of(b"C-1", TOPICS.partitions)
PAUSED = Control(paused=True, by="alice")


async def rewind(setting: Setting, name: str, to: int, *, id: str = "r1", reset_state: bool = False) -> None:  # noqa: A002
    epoch = await setting.bus.epoch(TOPICS.ingest)
    asked = Rewind(id, epoch, {PARTITION: to}, str(to), reset_state=reset_state, by="alice", at=1.0)
    async with setting.bus.appender() as appender:  # its writes do not count among the commits that crash
        await appender.append(TOPICS.pipelines, [Outgoing(rewind_key(name), encode(asked))])
    await until(lambda: setting.controls.asked.rewinds.get(name) == asked)


def published(setting: Setting, channel: str) -> list[int]:
    return [
        json.loads(record.value or b"")["data"]["n"]
        for record in setting.records(TOPICS.publish)
        if record.key == channel.encode()
    ]


def ids(setting: Setting, channel: str) -> list[str]:
    found = [record for record in setting.records(TOPICS.publish) if record.key == channel.encode()]
    return [json.loads(record.value or b"")["id"] for record in found]


def two() -> list[Any]:
    return [pipeline(name="a", channel="a"), pipeline({"map": "n = 2 ? missing : $"}, name="b", channel="b")]


async def carried_out(setting: Setting, name: str, request: str) -> None:
    async with asyncio.timeout(60):
        while (await setting.controls.fresh(setting.bus)).starts(
            PARTITION, await setting.bus.epoch(TOPICS.ingest)
        ).carried_out.get(name) != request:
            await asyncio.sleep(0.002)


async def test_a_paused_pipeline_holds_its_partition_and_loses_and_repeats_nothing() -> None:
    setting = Setting(pipelines=two())
    async with setting.running() as stream:
        await setting.ingest(1)
        await until(lambda: published(setting, "a") == published(setting, "b") == [1])
        await setting.controls.control(setting.bus, "b", PAUSED)
        await setting.ingest(3)
        await until(lambda: bool(stream.held))
        held = stream.partitions[PARTITION].held
        assert held is not None
        assert (held.pipeline, held.step, held.error) == ("b", "", "paused by an operator")
    # A replica that starts knows that it is paused before it processes anything.
    async with setting.running() as stream:
        await until(lambda: bool(stream.held))
        assert published(setting, "a") == published(setting, "b") == [1]
        assert [each.kind for each in setting.alerts.calls] == []
        await setting.controls.control(setting.bus, "b", Control())
        await until(lambda: published(setting, "b") == [1, 3])
        assert published(setting, "a") == [1, 3]
        assert setting.sample("trelay_pipeline_blocked_seconds_total", pipeline="b", step="") == 0


async def test_events_of_other_sources_pass_a_paused_pipeline_until_one_of_its_own_comes() -> None:
    setting = Setting()
    async with setting.running():
        setting.selection = type(setting.selection)([
            (["orders"], pipeline(name="a", channel="a")), (["refunds"], pipeline(name="b", channel="b")),
        ])  # fmt: skip
        await setting.controls.control(setting.bus, "b", PAUSED)
        await setting.ingest(1, 2)
        await until(lambda: published(setting, "a") == [1, 2])
        await setting.ingest(3, source="refunds")
        await setting.ingest(4)
        await setting.controls.control(setting.bus, "b", Control())
        await until(lambda: published(setting, "a") == [1, 2, 4])
        assert published(setting, "b") == [3]


async def test_a_waiting_pipeline_makes_no_call_for_an_event_while_it_is_paused() -> None:
    setting = Setting(pipelines=[waiting_pipeline(LookUp())])
    calls = batches[-1]
    async with setting.running() as stream:
        await setting.controls.control(setting.bus, "orders", PAUSED)
        await setting.ingest(1, 2)
        await until(lambda: bool(stream.held))
        assert calls == []
        await setting.controls.control(setting.bus, "orders", Control())
        await until(lambda: setting.published() == [1, 2])


async def test_a_rewound_pipeline_runs_again_with_the_same_ids_and_no_other_one_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    setting = Setting(pipelines=two())
    await setting.ingest(1, 2, 3)
    await setting.ingest(4, source="unknown")
    async with setting.running():
        await until(lambda: published(setting, "a") == [1, 2, 3] and len(setting.dead()) == 2)
        await rewind(setting, "b", 1)
        await until(lambda: published(setting, "b") == [1, 3, 3])
        await setting.ingest(5)
        await until(lambda: published(setting, "a") == [1, 2, 3, 5])
    assert published(setting, "b") == [1, 3, 3, 5]
    assert ids(setting, "b")[1] == ids(setting, "b")[2]
    errors = [error.partition(":")[0] for error in setting.dead()]
    assert errors.count("steps.0.map") == 2, "it ran again"
    assert errors.count("no pipeline takes the source 'unknown'") == 1
    (line,) = [record.__dict__ for record in caplog.records if record.msg == "pipeline rewound"]
    assert (line["pipeline"], line["partition"], line["by"], line["before"], line["offset"]) == (
        "b", PARTITION, "alice", 4, 1,
    )  # fmt: skip


@pytest.mark.parametrize("asked_first", [False, True])
async def test_a_pipeline_that_a_reload_adds_can_be_rewound(
    asked_first: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(controls, "_RELOAD_INTERVAL", 0.01)
    setting = Setting(pipelines=[pipeline(name="a", channel="a")])
    await setting.ingest(1, 2, 3)
    async with setting.running():
        await until(lambda: published(setting, "a") == [1, 2, 3])
        if asked_first:
            await rewind(setting, "b", 0)
        setting.replace(*two())
        if not asked_first:
            await rewind(setting, "b", 0)
        await until(lambda: published(setting, "b") == [1, 3])
    assert published(setting, "a") == [1, 2, 3]


async def test_rewinds_within_rewinds_and_restarts() -> None:
    setting = Setting(pipelines=[pipeline(name=name, channel=name) for name in "abc"])
    await setting.ingest(*range(6))
    async with setting.running():
        await until(lambda: published(setting, "c") == list(range(6)))
        for name in "abc":
            await setting.controls.control(setting.bus, name, PAUSED)
        await rewind(setting, "a", 4)
        await carried_out(setting, "a", "r1")
        await rewind(setting, "b", 2, id="r2")
        await carried_out(setting, "b", "r2")
    async with setting.running():
        for name in "abc":
            await setting.controls.control(setting.bus, name, Control())
        await setting.ingest(6)
        await until(lambda: published(setting, "c") == list(range(7)))
    assert published(setting, "a") == [*range(6), 4, 5, 6]
    assert published(setting, "b") == [*range(6), 2, 3, 4, 5, 6]


@pytest.mark.parametrize("crash", ["before the commit", "after the commit"])
async def test_a_crash_carries_a_rewind_out_once(crash: str, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting()
    await setting.ingest(1, 2)
    async with setting.running():
        await until(lambda: setting.published() == [1, 2])
        failed = len(setting.bus.submitted)
        if crash == "before the commit":
            setting.bus.fail = lambda number: Unavailable("it crashed") if number == failed else None
        else:
            crashes = iter([Unavailable("it crashed")])

            def reach(name: str) -> None:
                if name == "process.rewound" and (error := next(crashes, None)) is not None:
                    raise error

            monkeypatch.setattr("shared.runtime.failpoints.reach", reach)
        await rewind(setting, "orders", 0)
        await until(lambda: setting.published() == [1, 2, 1, 2])
        await setting.ingest(3)
        await until(lambda: setting.published() == [1, 2, 1, 2, 3])


async def test_the_state_of_a_rewound_pipeline_begins_anew_and_that_of_others_stays() -> None:
    dedupe = {"dedupe": {"by": "key", "within": 3600}}
    setting = Setting(pipelines=[pipeline(dedupe, name=name, channel=name) for name in "ab"])
    await setting.ingest(1, 2, key="x")
    await setting.ingest(3, key="y")
    async with setting.running():
        await until(lambda: published(setting, "a") == [1, 3])
        await rewind(setting, "a", 1, reset_state=True)
        await until(lambda: published(setting, "a") == [1, 3, 2, 3])
        await setting.ingest(4, key="x")
        await setting.ingest(5, key="z")
        await until(lambda: published(setting, "a") == [1, 3, 2, 3, 5])
    async with setting.running():
        await setting.ingest(6, key="y")
        await setting.ingest(7, key="w")
        await until(lambda: published(setting, "a") == [1, 3, 2, 3, 5, 7])
    assert published(setting, "b") == [1, 3, 5, 7]


async def test_a_pipeline_that_keeps_state_by_now_is_not_rewound_without_its_consent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setting = Setting(pipelines=[pipeline({"dedupe": {"by": "n", "within": 3600}})])
    await setting.ingest(1)
    async with setting.running():
        await until(lambda: setting.published() == [1])
        await rewind(setting, "orders", 0)
        await carried_out(setting, "orders", "r1")
        await setting.ingest(2)
        await until(lambda: setting.published() == [1, 2])
    assert "rewind refused: the pipeline keeps state" in [record.msg for record in caplog.records]


async def test_results_of_a_paused_pipeline_wait_for_it() -> None:
    setting = Setting(pipelines=[pipeline({"latest": {"every": 50}})])
    async with setting.running() as stream:
        await setting.ingest(1)
        await until(lambda: setting.published() == [1])
        await setting.controls.control(setting.bus, "orders", PAUSED)
        await setting.ingest(2)
        await until(lambda: bool(stream.held))
        await setting.controls.control(setting.bus, "orders", Control())
        await until(lambda: setting.published() == [1, 2])


async def test_the_offset_that_a_rewind_commits_is_that_of_the_first_event_to_run() -> None:
    setting = Setting(pipelines=two())
    await setting.ingest(1, 2, 3)
    async with setting.running() as stream:
        await until(lambda: published(setting, "a") == [1, 2, 3])
        for name in "ab":
            await setting.controls.control(setting.bus, name, PAUSED)
        await rewind(setting, "a", 1)
        await carried_out(setting, "a", "r1")
        assert await committed(setting, stream) == 1


async def committed(setting: Setting, stream: Stream) -> int | None:
    return await setting.bus.committed(stream.group, TopicPartition(TOPICS.ingest, PARTITION))
