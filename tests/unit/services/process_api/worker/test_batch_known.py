"""Batches of look-ups whose answers are known: their records are added without waiting, up to the first other one."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from services.cli.pipelines.mocks import Mock, Mocks
from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.outcome import Blocked
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.worker.batch import Batch
from services.process_api.worker.outputs import Tally
from services.process_api.worker.turns import Turns
from shared.bus.memory.log import MemoryRecord
from shared.bus.protocol import TopicPartition
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.process_api.making import batch, event, pipeline, record
from tests.unit.services.process_api.pipeline.steps.waiting import LookUp, StatefulLookUp, scope, waiting_pipeline

FUNCTIONS = "tests.unit.services.process_api.pipeline.steps.functions"
SQL = {"url": "postgresql://u@db.invalid/crm", "query": "SELECT id, name FROM c WHERE id IN :keys"}
ENRICH = {"enrich": {"sql": SQL, "key": "customer", "into": "data.found"}}
NAMES = {"C-1": "Ada", "C-2": "Bob"}


def enriching(*steps: Any, name: str = "orders") -> Pipeline:
    """A pipeline whose look-up finds two keys; it has no answer for others."""
    mocks = [{"key": key, "answers": [{"value": {"name": name}}]} for key, name in NAMES.items()]
    answers = Mocks([Mock.model_validate(mock) for mock in mocks])
    return pipeline(*(steps or (ENRICH,)), name=name, context=StepContext(answers=answers))


def records(*entities: Any) -> list[MemoryRecord]:
    return [record(event(entity), offset) for offset, entity in enumerate(entities)]


async def added(made: Pipeline, given: Sequence[MemoryRecord], *others: Pipeline) -> Batch:
    """Add records to a new batch."""
    found = batch(made, *others)
    await found.add_waiting(given, Scope(TopicPartition("trelay.ingest", 0), Turns(SYSTEM_CLOCK)))
    return found


def found(made: Batch) -> list[Any]:
    return [json.loads(each.value or b"")["data"] for each in made.outputs]


async def test_known_and_unknown_keys_give_the_results_in_the_order_of_the_records() -> None:
    made = enriching({"filter": "n > 0"}, ENRICH, {"set": {"data.m": "=n"}})
    given = records(
        {"n": 1, "customer": "C-1"},
        {"n": 0},
        {"n": 2},
        {"n": 3, "customer": []},
        {"n": 4, "customer": "C-2"},
        {"n": 5, "customer": "C-1"},
    )
    expected = [
        {"n": 1, "customer": "C-1", "found": {"name": "Ada"}, "m": 1},
        {"n": 2, "m": 2},
        {"n": 4, "customer": "C-2", "found": {"name": "Bob"}, "m": 4},
        {"n": 5, "customer": "C-1", "found": {"name": "Ada"}, "m": 5},
    ]
    for _ in ("nothing is known", "all is known"):
        filled = await added(made, given)
        assert found(filled) == expected
        assert [reject.error.partition(":")[0] for reject in filled.rejects] == ["steps.1.enrich"]
        assert (filled.count, filled.first, filled.last) == (6, 0, 5)
        assert filled.tallies["orders"] == Tally(6, 4, 1)


async def test_what_is_known_is_added_and_the_rest_waits() -> None:
    made = enriching()
    await added(made, records({"customer": "C-1"}))
    filled = batch(made)
    with pytest.raises(Blocked):
        await filled.add_waiting(records({"customer": "C-1"}, {"customer": "C-3"}, {"customer": "C-1"}), scope())
    assert (filled.count, filled.last, len(filled.outputs)) == (1, 0, 1)


async def test_a_plain_pipeline_beside_runs_once_for_each_record() -> None:
    made = enriching(name="a")
    copies = pipeline(name="b")
    filled = await added(made, records({"customer": "C-1"}, {"customer": "C-2"}), copies)
    assert [tally.taken for tally in filled.tallies.values()] == [2, 2]
    filled = await added(made, records({"customer": "C-1"}, {"customer": "C-2"}), copies)
    assert [tally.published for tally in filled.tallies.values()] == [2, 2]


async def test_a_step_beside_that_waits_for_something_holds_its_record() -> None:
    made = enriching(name="a")
    await added(made, records({"customer": "C-1"}))
    wait = pipeline({"filter": "look = 'away'"}, {"python": f"{FUNCTIONS}:wait"}, name="b")
    filled = batch(made, wait)
    with pytest.raises(Blocked) as caught:
        await filled.add_waiting(
            records({"customer": "C-1"}, {"customer": "C-1", "look": "away"}, {"customer": "C-1"}), scope()
        )
    assert caught.value.pipeline == "b"
    assert (filled.count, filled.last) == (1, 0)


def test_only_pipelines_whose_steps_all_may_know_are_quick() -> None:
    assert enriching().quick
    assert enriching(ENRICH, {"repartition": "customer"}).quick
    assert not waiting_pipeline(LookUp()).quick
    assert not waiting_pipeline(StatefulLookUp()).quick
    assert not enriching(ENRICH, {"dedupe": {"by": "customer", "within": 60}}).quick
