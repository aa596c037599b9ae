"""A dead letter that an operator replays runs again through the pipeline that refused it, and through no other."""

import json
from typing import Any

import pytest

from services.process_api.operations.requests import Asked
from services.process_api.pipeline.pipeline import Pipeline
from shared.events.dead_letter import Content
from tests.unit.services.process_api.dead_letters.lettering import Desk, reject
from tests.unit.services.process_api.making import pipeline
from tests.unit.services.process_api.worker.streaming import TOPICS, Setting, until
from tests.unit.services.process_api.worker.test_rewinds import rewind

STRICT = {"validate": {"type": "object", "required": ["total"]}}
LENIENT = {"validate": {"type": "object"}}
AGAIN = "a rewind runs its event through the pipeline 'orders' again: it would run twice; drop the letter"
DEDUPE = {"dedupe": {"by": "n", "within": 3600}}


def copies() -> Pipeline:
    return pipeline(name="copies", channel="copies")


def orders(*steps: Any) -> Pipeline:
    return pipeline(*steps, name="orders", channel="orders")


def channels(setting: Setting) -> list[str]:
    return sorted(json.loads(record.value)["channel"] for record in setting.records(TOPICS.publish))


def letters(setting: Setting) -> list[dict[str, str]]:
    return [{name: value.decode() for name, value in record.headers} for record in setting.records(TOPICS.dead_letter)]


@pytest.mark.parametrize("before", [[], [DEDUPE]], ids=["plain", "stateful"])
async def test_a_replay_runs_only_the_pipeline_that_refused_the_event(before: list[Any]) -> None:
    setting = Setting(pipelines=[copies(), orders(*before, STRICT)])
    async with setting.running():
        await setting.ingest(1)
        await until(lambda: len(setting.dead()) == 1)
        desk = Desk(setting.bus)
        await desk.replay(all=True)
        await until(lambda: len(setting.dead()) == 2)
        first, second = letters(setting)
        assert (first["attempts"], second["attempts"]) == ("1", "2")
        assert (second["replay-of"], second["pipeline"][:7]) == ("0-0", "orders@")
        assert first["input-provenance"] == second["input-provenance"] == "orders 1700000000000 orders:1"
        assert first["input-key"] == second["input-key"] == "C-1"
        setting.replace(copies(), orders(*before, LENIENT))
        await desk.replay(all=True)
        await until(lambda: len(channels(setting)) == 2)
        assert channels(setting) == ["copies", "orders"]


async def test_a_refused_event_leaves_no_trace_that_would_make_its_replay_a_duplicate() -> None:
    setting = Setting(pipelines=[orders(DEDUPE, STRICT)])
    async with setting.running():
        await setting.ingest(1)
        await until(lambda: len(setting.dead()) == 1)
        setting.replace(orders(DEDUPE, LENIENT))
        await Desk(setting.bus).replay(all=True)
        await until(lambda: setting.published() == [1])
        await setting.ingest(1, 2)  # the first is a duplicate now
        await until(lambda: setting.published() == [1, 2])


async def test_a_letter_of_no_pipeline_goes_to_those_that_take_its_source_now() -> None:
    setting = Setting(pipelines=[copies(), orders()])
    async with setting.running():
        await setting.ingest(1, source="invoices")
        await until(lambda: len(setting.dead()) == 1)
        desk = Desk(setting.bus)
        desk.pipelines["invoices"] = ["copies", "orders"]
        await desk.replay(all=True)
        await until(lambda: len(setting.dead()) == 2)
        assert letters(setting)[1]["pipeline"] == ""


async def test_a_pipeline_that_is_gone_when_the_replay_arrives_is_named() -> None:
    setting = Setting(pipelines=[copies(), orders(STRICT)])
    async with setting.running():
        await setting.ingest(1)
        await until(lambda: len(setting.dead()) == 1)
        setting.replace(copies())
        await Desk(setting.bus).replay(all=True)
        await until(lambda: len(setting.dead()) == 2)
        assert setting.dead()[1] == "the pipeline 'orders' does not take the source 'orders'"
        assert letters(setting)[1]["pipeline"][:7] == "orders@"
        assert channels(setting) == ["copies"]


async def test_a_rewind_runs_an_event_and_its_replay_once() -> None:
    setting = Setting(pipelines=[orders(STRICT)])
    async with setting.running():
        await setting.ingest(1, 2)
        await until(lambda: len(setting.dead()) == 2)
        await Desk(setting.bus).replay(ids=["0-0"])
        await until(lambda: len(setting.dead()) == 3)  # the replay is rejected as well
        setting.replace(orders(LENIENT))
        await Desk(setting.bus).replay(ids=["0-2"])
        await until(lambda: setting.published() == [1])
        await rewind(setting, "orders", 0)
        await until(lambda: setting.published() == [1, 1, 2])
        await Desk(setting.bus).replay(ids=["0-1"])  # asked after the rewind: it runs, whatever that has made
        await until(lambda: setting.published() == [1, 1, 2, 2])
        await rewind(setting, "orders", 1, id="r2")
        await until(lambda: setting.published() == [1, 1, 2, 2, 2, 1])


@pytest.mark.parametrize("parts", [[], [{"repartition": "customer"}]], ids=["whole", "divided"])
async def test_a_letter_whose_event_a_rewind_has_run_again_is_not_replayed(parts: list[Any]) -> None:
    setting = Setting(pipelines=[orders(*parts, STRICT)])
    async with setting.running():
        desk = Desk(setting.bus, asked=setting.controls.followed)
        await setting.ingest(1, 2, customer="one")
        await until(lambda: len(setting.dead()) == 2)
        await rewind(setting, "orders", 1, id="1-a")  # behind the first event
        await until(lambda: len(setting.dead()) == 3)
        setting.replace(orders(*parts, LENIENT))
        answer = await desk.replay(all=True)
        assert (answer["replayed"], answer["refused"]) == (2, 1)
        assert answer["refusals"] == [{"id": "0-1", "reason": AGAIN}]
        await until(lambda: sorted(setting.published()) == [1, 2])
        assert (await desk.drop(all=True))["dropped"] == 1


@pytest.mark.parametrize(
    ("body", "waits"),
    [({}, True), ({"data": {}, "ids": ["0-0"]}, True), ({"to": {"channel": "x"}}, False)],
    ids=["pipeline", "edited", "channel"],
)
async def test_a_replay_to_a_pipeline_waits_until_rewinds_are_known(body: dict[str, Any], *, waits: bool) -> None:
    asked = 0

    async def known() -> Asked:
        nonlocal asked
        asked += 1
        return Asked()

    desk = Desk(asked=known)
    await desk.write(reject())
    await desk.replay(**({"all": True} | body if "ids" not in body else body))
    assert (asked > 0) == waits
    await desk.drop(all=True)
    assert asked <= 1


async def test_a_rewind_runs_an_edited_replay_beside_its_event() -> None:
    setting = Setting(pipelines=[orders(STRICT)])
    async with setting.running():
        await setting.ingest(1)
        await until(lambda: len(setting.dead()) == 1)
        await Desk(setting.bus).replay(ids=["0-0"], data={"n": 7, "total": 3})
        await until(lambda: setting.published() == [7])
        await rewind(setting, "orders", 0)
        await until(lambda: setting.published() == [7, 7])
    assert len(setting.dead()) == 2


async def test_edited_events_are_parsed_as_a_whole() -> None:
    setting = Setting(pipelines=[orders(STRICT)])
    async with setting.running():
        await setting.ingest(1)
        await until(lambda: len(setting.dead()) == 1)
        letter = json.loads(setting.records(TOPICS.dead_letter)[0].value)
        event = {"data": {"n": 1, "total": 3}, **{name: letter[name] for name in letter if name != "data"}}
        await Desk(setting.bus).replay(ids=["0-0"], event=event)
        await until(lambda: setting.published() == [1])
        (record,) = setting.records(TOPICS.publish)
        assert dict(record.headers)["trelay-provenance"].split(b" ")[::2] == [b"orders", b"orders:1"]
        assert Content(letters(setting)[0]["content"]) is Content.EVENT
