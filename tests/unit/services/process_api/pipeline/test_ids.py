"""The ids of what a pipeline makes, whatever its steps are: the same each time, and each of a channel once."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.process_api.dry_run import DryRun, Sample
from tests.unit.services.process_api.making import event, pipeline

PLAIN = st.sampled_from(
    [
        {"filter": "$exists($)"},
        {"map": '{"n": n, "lines": lines}'},
        {"set": {"data.n": "=$event.id"}},
        {"rename": {"data.n": "data.m"}},
        {"route": '"a"'},
        {"route": '"b." & $string(n)'},
        {"emit": ["a", "b"]},
        {"emit": ["b", "=$event.subject"]},
        {"split": "lines"},
        {"split": {"items": "lines", "into": "data.n"}},
        {"split": "[$, $]"},
    ]
)
STATEFUL = st.sampled_from(
    [
        {"dedupe": {"within": 5}},
        {"latest": {"every": 100}},
        {"schedule": {"quiet": 5, "times": 2}},
        {"aggregate": {"window": {"session": 1}, "lateness": 5, "early": 1, "values": {"n": "count"}}},
        {"aggregate": {"window": {"sliding": 2, "every": 1}, "values": {"n": "count"}}},
        {"join": {"left": "orders", "right": "payments", "within": 2, "mode": "left"}},
    ]
)


def _holding(steps: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(steps, min_size=1, max_size=3)
    return st.one_of(
        some.map(lambda inner: {"foreach": {"items": "data.lines", "steps": inner}}),
        some.map(lambda inner: {"use": {"list": "some", "steps": inner}}),
        some.map(lambda inner: {"branch": {"cases": [{"when": "n = 1", "steps": inner}]}}),
        st.tuples(some, some).map(
            lambda both: {"parallel": {"lists": {"x": both[0], "y": both[1]}, "merge": "$", "into": "data.p"}}
        ),
    )


STEPS = st.lists(st.recursive(PLAIN, _holding, max_leaves=6), min_size=1, max_size=4)
ENTITIES = st.recursive(
    st.fixed_dictionaries({"n": st.integers(0, 2)}),
    lambda inner: st.fixed_dictionaries({"n": st.integers(0, 2), "lines": st.lists(inner, max_size=3)}),
    max_leaves=4,
)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["orders", "payments"]), st.sampled_from(["s", "t"]), st.integers(0, 9), ENTITIES),
    min_size=1,
    max_size=5,
)


async def _made(steps: list[Any], events: list[tuple[str, str, int, Any]]) -> list[list[tuple[bytes, bytes | None]]]:
    """Return what each event becomes, and then what the time makes due."""
    run = DryRun(pipeline(*steps, channel="c"))
    found = []
    for number, (source, subject, second, entity) in enumerate(events):
        head = {"source": f"/sources/{source}", "subject": subject, "time": f"2026-01-01T00:00:0{second}Z"}
        result = await run.run(Sample(event(entity, id=f"{source}:{number}", **head)))
        found.append([(key, value) for key, value, _ in result.events])
    found += [[(key, value) for key, value, _ in (await run.tick()).events] for _ in range(3)]
    return found


@given(st.one_of(st.just([]), STATEFUL.map(lambda step: [step])), STEPS, EVENTS)
async def test_ids_are_the_same_each_time_and_distinct_on_their_channel(
    first: list[Any], steps: list[Any], events: list[tuple[str, str, int, Any]]
) -> None:
    made = await _made([*first, *steps], events)
    assert await _made([*first, *steps], events) == made
    ids = [(key, json.loads(value or b"")["id"]) for each in made for key, value in each]
    assert len(set(ids)) == len(ids)
