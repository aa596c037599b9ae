"""A pipeline whose steps keep state: what the time makes of it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from services.process_api.pipeline.pipeline import Input
from shared.bus.protocol import Outgoing
from shared.events.headers import PROVENANCE, headers_of
from shared.runtime.clock import rfc3339
from tests.unit.services.process_api.making import event, pipeline
from tests.unit.services.process_api.pipeline.steps.waiting import scope, state_of


async def test_what_was_held_passes_through_the_steps_behind() -> None:
    made = pipeline({"latest": {"every": 100}}, {"set": {"data.seen": True}})
    now = [1000]
    state = state_of(made, now=lambda: now[0])
    used = scope(state)
    for number in (1, 2):
        state.at_record(b"C-1", now[0], b"orders 1 id")
        [outcome] = await made.start([Input(event({"n": number}))], used)
        await made.finish(outcome, (), used)
        state.keep("orders")
    assert made.next_due(state) == 1100
    now[0] = 1100
    state.at_no_record()
    [(due, value, outputs)] = [each async for each in made.due(used)]
    assert isinstance(outputs, list)
    assert json.loads(outputs[0].value or b"")["data"] == {"n": 2, "seen": True}
    assert json.loads(value)["data"] == {"n": 2}
    assert outputs[0].headers == due.headers


async def test_a_pipeline_without_state_has_nothing_due() -> None:
    assert not pipeline({"filter": "a"}).timed
    assert pipeline({"dedupe": {"within": 1}}).timed


NOW = 1_767_225_600_000
ONE = {"aggregate": {"window": {"tumbling": 1}, "values": {"n": "count"}}}
"""A result for each second of each subject."""


async def _results(*steps: Any, keys: Mapping[str, bytes] | None = None) -> list[tuple[str, str, bytes]]:
    """Return the subject, the end and the provenance of what is made of an event of A, B and C in each second."""
    made = pipeline(*steps)
    now = [NOW]
    state = state_of(made, now=lambda: now[0])
    used = scope(state)
    found: list[Outgoing] = []

    async def due() -> None:
        while made.may_be_due(state):
            outputs = [each async for _, _, each in made.due(used)]
            state.keep("orders")
            found.extend(one for some in outputs if isinstance(some, list) for one in some)
            if not outputs:
                break

    for second in range(5):
        for subject in "ABC" if second < 4 else "D":
            now[0] = NOW + second * 1000
            key = (keys or {}).get(subject, subject.encode())
            provenance = f"orders 1 {second}{subject}".encode()
            state.at_record(key, now[0], provenance)
            value = event({}, subject=subject, time=rfc3339(now[0] / 1000), id=f"{second}{subject}")
            [outcome] = await made.start([Input(value)], used)
            outputs = await made.finish(outcome, headers_of(provenance), used)
            assert isinstance(outputs, list)
            state.keep("orders")
            found.extend(outputs)
            await due()
    for now[0] in (NOW + 100_000, NOW + 200_000):
        state.at_no_record()
        await due()
    events = [json.loads(each.value or b"") for each in found]
    names = [dict(each.headers)[PROVENANCE] for each in found]
    return [(each["subject"], each["time"][17:19], name) for each, name in zip(events, names, strict=True)]


@pytest.mark.parametrize(
    ("step", "ends"),
    [
        ({"dedupe": {"by": "n", "within": 3600}}, ["01"]),
        ({"latest": {"every": 50_000}}, ["01", "04"]),
        ({"aggregate": {"window": {"tumbling": 2}, "values": {"n": {"sum": "n"}}}}, ["02", "04"]),
        ({"schedule": {"quiet": 3600}}, ["01", "02", "03", "04"]),
    ],
)
@pytest.mark.parametrize("keys", [{}, {"A": b"k1", "B": b"k2", "C": b"k3" * 200}])
async def test_results_are_grouped_by_the_subject_that_they_are_of(
    step: Any, ends: list[str], keys: dict[str, bytes]
) -> None:
    """And not by that of the record that lets the time pass, or by none."""
    found = await _results(ONE, step, keys=keys)
    for subject in "ABC":
        assert [end for of, end, _ in found if of == subject] == ends


async def test_what_is_held_twice_keeps_its_provenance_and_its_group() -> None:
    found = await _results({"latest": {"every": 2500}}, {"latest": {"every": 4000}})
    for subject in "BC":  # what is held in the second 2 is due at the event of A in the second 3
        names = [name for of, _, name in found if of == subject]
        assert names == [f"orders 1 {second}{subject}".encode() for second in (0, 2, 3)]
