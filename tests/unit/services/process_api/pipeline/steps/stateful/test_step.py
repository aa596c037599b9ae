"""What all steps with state have in common."""

from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.stateful.dedupe import DedupeOptions
from services.process_api.pipeline.steps.stateful.step import (
    StatefulOptions,
    StatefulStep,
    definitions,
    stateful_on_top,
)
from services.process_api.pipeline.steps.step import StepOptions
from tests.unit.services.process_api.pipeline.steps.stateful.stepping import Stepping
from tests.unit.services.process_api.pipeline.steps.waiting import scope

DEDUPE = {"dedupe": {"within": 60}}


def options(*steps: Any) -> PipelineOptions:
    return PipelineOptions.model_validate({"sources": ["*"], "channel": "c", "steps": list(steps)})


def of(*steps: Any) -> dict[str, str]:
    return definitions("orders", [(str(number), step) for number, step in enumerate(options(*steps).steps)])


def test_a_step_keeps_its_state_when_other_steps_change() -> None:
    before = of({"filter": "a"}, DEDUPE)["1"]
    assert of(DEDUPE)["0"] == before
    assert of({"latest": {"every": 100}}, DEDUPE)["1"] == before


def test_other_settings_and_equal_steps_have_other_state() -> None:
    found = of(DEDUPE, DEDUPE, {"dedupe": {"within": 61}}, {"dedupe": {"within": 60, "by": ["a"]}})
    assert len(set(found.values())) == 4


@pytest.mark.parametrize(
    ("step", "defaults", "known"),
    [
        (DEDUPE, {"by": "$event.id"}, "ad41df1d"),
        ({"latest": {"every": 100}}, {"by": []}, "dc47283b"),
        ({"schedule": {"quiet": 5}}, {"by": [], "times": 1, "type": "heartbeat"}, "e2b667fd"),
        (
            {"aggregate": {"window": {"tumbling": 60}, "values": {"n": "count", "m": {"max": "v"}}}},
            {"by": [], "early": None, "lateness": 0, "ahead": 3600, "idle": None, "type": "aggregate"},
            "8a95fee8",
        ),
        (
            {"join": {"left": "l", "right": "r", "within": 1}},
            {"by": [], "mode": "inner", "merge": None, "lateness": 0, "ahead": 3600, "idle": None},
            "80621828",
        ),
        ({"table": {"of": "t"}}, {"into": "data.row", "by": [], "deleted": None, "missing": "pass"}, "b39dc29c"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_release_with_another_setting_keeps_the_state(step: Any, defaults: Any, known: str) -> None:
    ((kind, settings),) = step.items()
    (alone,) = options(step).steps
    (written,) = options({kind: {**settings, **defaults}}).steps
    assert isinstance(alone, StatefulOptions)
    assert isinstance(written, StatefulOptions)
    assert alone.fingerprint == written.fingerprint
    # Another hash deletes the state of everybody who updates: a new setting has no part in it while it is not used.
    assert alone.fingerprint == known


class Holding(StepOptions):
    """A step that holds another one."""

    kind: ClassVar = "holding"

    def inner(self) -> dict[str, list[StepOptions]]:
        return {"steps": [DedupeOptions.model_validate(DEDUPE)]}

    def build(self, context: StepContext) -> Any:
        raise NotImplementedError


def test_a_step_inside_another_one_keeps_no_state() -> None:
    with pytest.raises(ValueError, match=r"0\.holding holds the step dedupe, which keeps state"):
        stateful_on_top([Holding()])


@pytest.mark.parametrize("step", [{"dedupe": {}}, {"dedupe": {"within": 0}}, {"latest": {"every": 1}}])
def test_settings_out_of_range(step: Any) -> None:
    with pytest.raises(ValidationError):
        options(step)


@pytest.mark.parametrize(
    ("step", "expressions"),
    [
        ({"dedupe": {"by": ["a", "b"], "within": 1}}, ["a", "b"]),
        ({"latest": {"by": "a", "every": 100}}, ["a"]),
        (
            {"aggregate": {"window": {"tumbling": 1}, "by": "a", "values": {"n": "count", "m": {"max": "b"}}}},
            ["a", "b"],
        ),
        ({"join": {"left": "l", "right": "r", "within": 1, "by": "a", "merge": "left"}}, ["a", "left"]),
        ({"join": {"left": "l", "right": "r", "within": 1}}, []),
        ({"table": {"of": "t", "by": "a", "deleted": "b"}}, ["a", "b"]),
        ({"table": {"of": "t"}}, []),
    ],
)
def test_the_expressions_of_a_step_are_tried(step: Any, expressions: list[str]) -> None:
    (made,) = options(step).steps
    assert made.expressions() == expressions


async def test_an_error_concerns_its_event_alone() -> None:
    bench = Stepping({"dedupe": {"within": 60, "by": "key"}})
    found = await bench.step.apply_batch(
        [bench.draft({"key": 1}), bench.draft({}), bench.draft({"key": 1}), bench.draft({"key": 2})],
        scope(bench.running),
    )
    assert [each if isinstance(each, Exception) else len(each) for each in (found[0], *found[2:])] == [1, 0, 1]
    assert "steps.0: `by`: key is undefined" in str(found[1])


def test_a_step_without_timers_has_nothing_due() -> None:
    bench = Stepping(DEDUPE)
    assert list(StatefulStep.due(bench.step, bench.state)) == []
    assert StatefulStep.next_due(bench.step, bench.state) is None
