"""Operators list, show, replay and drop letters, on the bus in memory."""

import json

import pytest

from services.process_api.dead_letters.places import Place
from shared.errors import Malformed, ProblemError
from shared.events.dead_letter import replay_in
from tests.unit.services.process_api.dead_letters.lettering import TOPICS, Desk, bad_line, reject


async def five() -> Desk:
    desk = Desk()
    await desk.write(reject(0), bad_line(), reject(2), reject(3, pipeline="gone@1"), reject(4))
    return desk


async def test_letters_are_listed_newest_first_by_page() -> None:
    desk = await five()
    found = await desk.page(limit="2")
    assert [each["id"] for each in found["letters"]] == ["0-4", "0-3"]
    found = await desk.page(limit="2", cursor=found["cursor"])
    assert [each["id"] for each in found["letters"]] == ["0-2", "0-1"]
    found = await desk.page(limit="2", cursor=found["cursor"])
    assert ([each["id"] for each in found["letters"]], found["cursor"]) == (["0-0"], None)
    assert await desk.ids(order="oldest", pipeline="orders") == ["0-0", "0-2", "0-4"]
    with pytest.raises(Malformed, match="belongs to a request with other members"):
        await desk.page(cursor=(await desk.page(limit="2"))["cursor"], source="orders")


async def test_letters_are_counted_by_cause() -> None:
    desk = await five()
    await desk.drop(ids=["0-0"])
    found = await desk.counts()
    assert (found["total"], found["cursor"]) == (4, None)
    assert [(each["pipeline"], each["count"]) for each in found["groups"]] == [("orders", 2), ("", 1), ("gone", 1)]
    assert (await desk.counts(status="dropped"))["total"] == 1
    with pytest.raises(Malformed, match="belongs to a request with other members"):
        await desk.counts(cursor=(await desk.page(limit="2"))["cursor"])


async def test_a_letter_is_shown_whole_and_found_by_its_name_alone() -> None:
    desk = await five()
    shown = await desk.service.show(desk.bus, Place(0, 2))
    assert (shown["id"], shown["event_id"], shown["status"]) == ("0-2", "orders:2", "open")
    for missing in (Place(0, 5), Place(1, 0)):
        with pytest.raises(ProblemError, match="there is no dead letter") as refused:
            await desk.service.show(desk.bus, missing)
        assert refused.value.status == 404


async def test_a_dry_run_counts_exactly_and_changes_nothing() -> None:
    desk = await five()
    found = await desk.replay(all=True, dry_run=True)
    assert (found["dry_run"], found["replayed"], found["refused"], found["cursor"]) == (True, 3, 2, None)
    assert [each["id"] for each in found["refusals"]] == ["0-1", "0-3"]
    assert (desk.ingested(), desk.records(TOPICS.decisions)) == ([], [])
    assert len(await desk.ids()) == 5


async def test_a_replay_is_done_once_and_says_by_whom() -> None:
    desk = await five()
    found = await desk.replay(pipeline="orders", reason="fixed the schema")
    assert (found["replayed"], found["refused"]) == (3, 0)
    assert desk.numbers() == [0, 2, 4]
    again = await desk.replay(pipeline="orders")
    assert (again["replayed"], again["refused"]) == (0, 0)
    assert desk.numbers() == [0, 2, 4]
    assert await desk.ids(status="replayed") == ["0-4", "0-2", "0-0"]
    assert await desk.ids() == ["0-3", "0-1"]
    decision = (await desk.service.show(desk.bus, Place(0, 0)))["decision"]
    assert (decision["by"], decision["to"], decision["reason"]) == ("ann", "pipeline", "fixed the schema")
    assert decision["operation"] == found["operation"]
    sample = desk.registry.get_sample_value("trelay_process_dead_letters_decided_total", {"decision": "replayed"})
    assert sample == 3


async def test_letters_are_named_by_id_and_what_became_of_each_is_counted() -> None:
    desk = await five()
    await desk.drop(ids=["0-0"])
    found = await desk.replay(ids=["0-0", "0-1", "0-2", "0-77"])
    assert (found["replayed"], found["decided_before"], found["refused"]) == (1, 1, 2)
    assert {each["id"]: each["reason"] for each in found["refusals"]}["0-77"].startswith("there is no such letter")
    assert desk.numbers() == [2]


async def test_letters_that_are_written_later_are_not_part_of_a_confirmed_replay() -> None:
    desk = await five()
    dry = await desk.replay(source="orders", dry_run=True)
    await desk.write(reject(9))
    found = await desk.replay(source="orders", cursor=dry["snapshot"])
    assert (found["replayed"], found["operation"]) == (3, dry["operation"])
    assert desk.numbers() == [0, 2, 4]
    repeated = await desk.replay(source="orders", cursor=dry["snapshot"])
    assert repeated["replayed"] == 3  # the same operation: it has done that, and does nothing more
    assert desk.numbers() == [0, 2, 4]


async def test_an_edited_event_is_replayed_with_its_id() -> None:
    desk = await five()
    await desk.replay(ids=["0-2"], data={"n": 22})
    (record,) = desk.ingested()
    event = json.loads(record.value or b"")
    assert (event["id"], event["data"]) == ("orders:2", {"n": 22})
    assert replay_in(record.headers) is not None
    assert (await desk.service.show(desk.bus, Place(0, 2)))["decision"]["edited"]


async def test_input_of_the_system_layer_is_replayed_to_a_channel_once_edited() -> None:
    desk = await five()
    shown = await desk.service.show(desk.bus, Place(0, 1))
    template = {name: json.loads(bytes(raw)) for name, raw in shown["template"].items()}
    event = {**template, "type": "line", "data": {"a": 1}}
    found = await desk.replay(ids=["0-1"], event=event, to={"channel": "files"})
    assert found["replayed"] == 1
    (record,) = desk.published()
    assert (record.key, json.loads(record.value or b"")["data"]) == (b"files", {"a": 1})


async def test_dropped_letters_stay_in_the_topic() -> None:
    desk = await five()
    assert (await desk.drop(stage="source", reason="test data"))["dropped"] == 1
    assert await desk.ids(status="dropped") == ["0-1"]
    assert len(desk.records(TOPICS.dead_letter)) == 5


async def test_decisions_on_letters_that_retention_has_deleted_are_deleted() -> None:
    desk = await five()
    await desk.drop(all=True)
    desk.bus.delete_records(TOPICS.dead_letter, 0, 4)
    await desk.drop(all=True)
    deleted = [record.key for record in desk.records(TOPICS.decisions) if record.value is None]
    assert deleted == [b"0-0", b"0-1", b"0-2", b"0-3"]
    assert await desk.ids(status="all") == ["0-4"]
