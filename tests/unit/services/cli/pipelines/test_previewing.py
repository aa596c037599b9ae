"""Pipelines on the newest events of the bus in memory, beside what a running stream has published."""

from pathlib import Path
from typing import Any

import pytest

from services.cli import main
from services.cli.pipelines.comparing import Compared, Kind
from services.cli.pipelines.mocks import Mock, Mocks
from services.cli.pipelines.previewing import Previewed
from services.process_api.pipeline.pipeline import PipelineOptions
from shared.bus.protocol import Outgoing, TopicPartition
from shared.errors import SettingsError
from tests.unit.services.process_api.making import batch, event, pipeline
from tests.unit.services.process_api.worker.streaming import TOPICS, Setting, until

OLD = [{"filter": "n != 3"}, {"set": {"data.seen": True}}]


def options(*steps: Any, sources: tuple[str, ...] = ("orders",), channel: str = "orders") -> PipelineOptions:
    return PipelineOptions.model_validate({"sources": list(sources), "channel": channel, "steps": list(steps)})


async def compared(setting: Setting, new: PipelineOptions, last: int = 100, **more: Any) -> list[Compared]:
    others = more.pop("others", {})
    mocks = more.pop("mocks", Mocks([]))
    previewed = Previewed(setting.bus, TOPICS, "orders", {"orders": new, **others}, mocks)
    before = {topic.name: len(setting.records(topic.name)) for topic in TOPICS.all()}
    try:
        return await previewed.compare(last, **more)
    finally:
        await previewed.close()
        assert {topic.name: len(setting.records(topic.name)) for topic in TOPICS.all()} == before


async def run(*numbers: int, **data: Any) -> Setting:
    """Run events through the old version."""
    setting = Setting(pipelines=[pipeline(*OLD)])
    await setting.ingest(*numbers, **data)
    async with setting.running():
        await until(lambda: len(setting.published()) == len([each for each in numbers if each != 3]))
    return setting


async def test_nothing_changes_where_the_settings_are_those_that_run() -> None:
    setting = await run(1, 2, 3)
    found = await compared(setting, options(*OLD))
    assert [(each.id, each.kind) for each in found] == [(f"orders:{number}", Kind.SAME) for number in (1, 2, 3)]
    assert found[0].lines() == [f"= orders:1 ({found[0].place}): same"]


async def test_each_difference_is_named_and_shown() -> None:
    setting = await run(1, 2, 3, 4)
    found = await compared(
        setting,
        options(
            {"filter": "n != 2"}, {"map": '{"n": n, "seen": n = 4 ? $error("no") : true, "x": n = 1 ? 1 : missing}'}
        ),
    )
    assert [each.kind for each in found] == [Kind.CHANGED, Kind.ONLY_OLD, Kind.ONLY_NEW, Kind.DEAD_LETTER]
    changed, gone, made, rejected = ("\n".join(each.lines()) for each in found)
    assert '+    "x": 1' in changed
    assert '-  "id": "orders:2"' in gone
    assert '"data": {"n": 3, "seen": true}' in made
    assert rejected.startswith("! orders:4")
    assert "dead_letter: steps.1.map: " in rejected


async def test_the_newest_events_of_all_partitions_are_taken() -> None:
    setting = Setting()
    for number in range(1, 40):
        await setting.ingest(number, subject=f"C-{number}")
    found = await compared(setting, options(), last=5)
    assert len({each.id for each in found}) == 5
    assert await compared(Setting(bus=setting.bus), options(), last=3, source="unknown") == []


async def test_events_that_are_not_processed_yet_have_nothing_to_compare_with() -> None:
    setting = await run(1)
    await setting.ingest(2)
    found = await compared(setting, options(*OLD))
    assert [each.kind for each in found] == [Kind.SAME, Kind.NEW]
    assert found[1].lines()[0].startswith("* orders:2")


PARTS = [{"repartition": "$string(n % 2)"}, {"set": {"data.seen": True}}]


async def test_a_pipeline_of_several_parts_is_compared_with_what_its_last_part_published() -> None:
    setting = Setting(pipelines=[pipeline(*PARTS)])
    await setting.ingest(1, 2, 3)
    async with setting.running():
        await until(lambda: sorted(setting.published()) == [1, 2, 3])
        await until(lambda: setting.sample("trelay_pipeline_continued_total", pipeline="orders", part="2") == 3)
    found = await compared(setting, options(*PARTS))
    assert [(each.id, each.kind) for each in found] == [(f"orders:{number}", Kind.SAME) for number in (1, 2, 3)]
    found = await compared(setting, options(*PARTS[:1]), last=1)
    assert [each.kind for each in found] == [Kind.CHANGED]


async def test_events_between_the_parts_have_nothing_to_compare_with() -> None:
    setting = Setting()
    await setting.ingest(1, 2)
    (partition,) = {record.partition for record in setting.records(TOPICS.ingest)}
    first = batch(pipeline(*PARTS))
    first.add(setting.bus.records(TOPICS.ingest, partition))
    async with setting.bus.writer("process.0") as writer:
        position = TopicPartition(TOPICS.ingest, partition)
        await writer.commit(first.transaction(TOPICS, "trelay.process", position, 2))
    found = await compared(setting, options(*PARTS))
    assert [(each.id, each.kind) for each in found] == [("orders:1", Kind.NEW), ("orders:2", Kind.NEW)]


async def test_events_of_other_pipelines_are_told_apart_by_their_channels() -> None:
    setting = Setting(pipelines=[pipeline(), pipeline(name="copies", channel="copies")])
    await setting.ingest(1)
    async with setting.running():
        await until(lambda: len(setting.published()) == 2)
    (alone,) = await compared(setting, options())
    assert alone.kind is Kind.CHANGED
    (beside,) = await compared(setting, options(), others={"copies": options(channel="copies")})
    assert beside.kind is Kind.SAME


async def test_look_ups_are_answered_or_named_and_never_sent() -> None:
    setting = await run(1)
    call = {"call": {"url": "https://api.invalid/", "into": "data.x"}}
    (found,) = await compared(setting, options(call))
    assert found.kind is Kind.WAITS
    assert "POST https://api.invalid/ has no answer" in found.error
    (found,) = await compared(setting, options(call), mocks=Mocks([], live=True, only_reads=True))
    assert found.kind is Kind.WAITS
    mock = Mock.model_validate({"step": "call", "answers": [{"value": 7}]})
    (found,) = await compared(setting, options(call), mocks=Mocks([mock]))
    assert [each["data"] for each in found.new] == [{"n": 1, "x": 7}]


async def test_steps_that_keep_state_begin_with_none() -> None:
    setting = await run(1, 2)
    dedupe = {"dedupe": {"by": "$floor(n / 10)", "within": 60}}
    found = await compared(setting, options(dedupe))
    assert [(each.kind, len(each.new)) for each in found] == [(Kind.NEW, 1), (Kind.NEW, 0)]


async def test_events_of_other_programs_are_run_as_well() -> None:
    setting = Setting()
    await setting.write(Outgoing(b"C-1", event({"n": 1})), Outgoing(b"C-1", b"no event"))
    (found,) = await compared(setting, options())
    assert found.kind is Kind.NEW


async def test_a_function_that_cannot_be_imported_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"process.pipelines.orders: "):
        Previewed(Setting().bus, TOPICS, "orders", {"orders": options({"python": "absent:f"})}, Mocks([]))


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (["--pipeline", "order"], 2, "there is no pipeline 'order'; the file has: orders"),
        (["--pipeline", "orders", "--mocks", "absent.yaml"], 2, "absent.yaml"),
        (["--pipeline", "orders"], 1, "127.0.0.1:9"),
    ],
    ids=["unknown pipeline", "no file of mocks", "no bus"],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, arguments: list[str], status: int, error: str, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "trelay.yaml"
    config.write_text(
        "database: {url: 'postgresql://nobody@127.0.0.1:9/none'}\nbus: {kind: postgres}\n"
        "process: {pipelines: {orders: {sources: [orders], channel: orders}}}\n"
    )
    assert main(["preview", "--config", str(config), *arguments]) == status
    assert error in capfd.readouterr().err
