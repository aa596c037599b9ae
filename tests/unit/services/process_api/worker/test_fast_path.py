"""The fast path of a batch: whatever comes, a batch holds what it would without."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.process_api.pipeline.part import PART
from services.process_api.pipeline.pipeline import Pipeline, PipelineOptions
from services.process_api.pipeline.selection import Selection
from services.process_api.pipeline.steps.outcome import Blocked
from services.process_api.worker.batch import Batch
from services.process_api.worker.poison import PoisonTracker
from shared.bus.memory.log import MemoryRecord
from shared.events.dead_letter import REPLAY, Replay
from shared.events.headers import CONTENT_TYPE, PROVENANCE
from tests.unit.services.process_api.making import event, pipeline, record

LIMIT = 400
FUNCTIONS = "tests.unit.services.process_api.pipeline.steps.functions"
STEPS: list[Any] = [{"filter": "level < 3"}, {"split": "items"}]
KINDS: dict[str, Any] = {
    "usual": {"level": 1, "items": [1]},
    "filtered": {"level": 5},
    "several": {"level": 1, "items": [1, 2]},
    "rejected": {"level": "x"},
    "large": {"level": 1, "items": ["x" * LIMIT]},
}
HEADERS: dict[str, Any] = {
    "standard": None,
    "foreign": (),
    "reversed": ((PROVENANCE, b"orders 1 x"), CONTENT_TYPE),
    "another content type": (("content-type", b"text/plain"), (PROVENANCE, b"orders 1 x")),
    "another second one": (CONTENT_TYPE, ("a", b"orders 1 x")),
    "without a value": (CONTENT_TYPE, (PROVENANCE, None)),
    "a replay without a value": (CONTENT_TYPE, (PROVENANCE, b"orders 1 x"), (REPLAY, None)),
    "a part without a value": (CONTENT_TYPE, (PROVENANCE, b"orders 1 x"), (PART, None)),
    "replayed": (CONTENT_TYPE, (PROVENANCE, b"orders 1 x"), *Replay("x", 1, "orders").headers()),
}


def selected() -> Selection:
    return Selection(
        [
            (["orders", "broken", "both"], pipeline(*STEPS)),
            (["plain"], pipeline(name="plain")),
            (["both"], pipeline(name="second")),
        ]
    )


def made(
    selection: Selection, slices: Sequence[Sequence[MemoryRecord]], *, fast: bool, slow: Sequence[int] = ()
) -> Batch:
    poison = PoisonTracker()
    for offset in slow:
        poison.isolate(offset, offset, "too large")
    batch = Batch(selection, poison, LIMIT)
    batch._may_be_fast = fast
    for records in slices:
        left = list(records)
        while left:
            del left[: batch.add(left)]
    return batch


def content(batch: Batch) -> Any:
    rejects = [(reject.id, reject.origin, reject.error, reject.attempts) for reject in batch.rejects]
    places = (batch.first, batch.last, batch.count, batch.size, batch.unclaimed)
    return batch.outputs, rejects, batch.tallies, places


@st.composite
def slices_of_records(draw: st.DrawFn) -> list[list[MemoryRecord]]:
    sources = st.sampled_from(["orders", "orders", "orders", "plain", "both", "unknown", "orders2"])
    kinds, headers = st.sampled_from(["usual", *KINDS]), st.sampled_from(["standard"] * 8 + [*HEADERS])
    offset, slices = 0, []
    for _ in range(draw(st.integers(1, 3))):
        records = []
        for source, kind, form in draw(st.lists(st.tuples(sources, kinds, headers), max_size=14)):
            one = record(event(KINDS[kind]), offset, source=source)
            records.append(one if HEADERS[form] is None else replace(one, headers=HEADERS[form]))
            offset += 1
        slices.append(records)
    return slices


@given(slices_of_records(), st.lists(st.integers(0, 20), max_size=2))
def test_a_batch_holds_the_same_with_the_fast_path_as_without(
    slices: list[list[MemoryRecord]], slow: list[int]
) -> None:
    selection = selected()
    expected = made(selection, slices, fast=False, slow=slow)
    assert expected._fast is None
    assert content(made(selection, slices, fast=True, slow=slow)) == content(expected)


@pytest.mark.parametrize("form", HEADERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", ["orders", "orders2", "both", "unknown"])
def test_a_record_of_any_kind_in_a_run_of_usual_ones_becomes_the_same(source: str, kind: str, form: str) -> None:
    records = [record(event(KINDS["usual"]), offset) for offset in range(12)]
    one = record(event(KINDS[kind]), 9, source=source)
    records[9] = one if HEADERS[form] is None else replace(one, headers=HEADERS[form])
    selection = selected()
    expected = content(made(selection, [records], fast=False))
    assert content(made(selection, [records], fast=True)) == expected


def test_the_records_of_one_source_take_the_fast_path() -> None:
    batch = made(selected(), [[record(event(KINDS["usual"]), offset) for offset in range(20)]], fast=True)
    assert batch._fast is not None
    assert batch._fast.worthwhile


def test_a_source_that_follows_a_long_run_gets_the_fast_path_and_alternating_ones_do_not() -> None:
    long = [record(event(KINDS["usual"]), offset) for offset in range(20)]
    next_one = record(event(KINDS["usual"]), 20, source="plain")
    batch = made(selected(), [[*long, next_one]], fast=True)
    assert batch._fast is not None
    alternating = [record(event(KINDS["usual"]), at, source=("orders", "plain")[at % 2]) for at in range(20)]
    assert made(selected(), [alternating], fast=True)._fast is None


def test_a_pipeline_with_a_shadow_has_no_fast_path() -> None:
    options = PipelineOptions.model_validate({"sources": ["*"], "channel": "orders", "shadow": {"steps": []}})
    batch = made(
        Selection([(["*"], Pipeline("orders", options))]), [[record(event(1), at) for at in range(3)]], fast=True
    )
    assert batch._fast is None
    assert len(batch.shadowed) == 3


def test_records_before_one_that_blocks_are_added() -> None:
    waiting = pipeline({"filter": "wait"}, {"python": f"{FUNCTIONS}:wait"})
    batch = Batch(Selection([(["*"], waiting)]), PoisonTracker())
    with pytest.raises(Blocked):
        batch.add([record(event({"wait": at == 3}), at) for at in range(6)])
    assert (batch.first, batch.last, batch.count) == (0, 2, 3)
    assert batch.tallies["orders"].taken == 3
