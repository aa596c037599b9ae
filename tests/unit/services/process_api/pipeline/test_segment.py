"""The parts of a pipeline."""

from services.process_api.pipeline.segment import segments
from services.process_api.pipeline.steps.context import StepContext
from tests.unit.services.process_api.making import step_options


def test_each_repartition_ends_a_part() -> None:
    options = [
        step_options(step)
        for step in ({"filter": "a"}, {"repartition": "b"}, {"dedupe": {"within": 1}}, {"repartition": "c"})
    ]
    context = StepContext(pipeline="p")
    places = [f"steps.{number}.{step.kind}" for number, step in enumerate(options)]
    steps = [step.build(context.at(place)) for place, step in zip(places, options, strict=True)]
    found = segments(places, steps, options)
    assert [[place for place, _ in each.plain] for each in found] == [
        ["steps.0.filter", "steps.1.repartition"], ["steps.3.repartition"], [],
    ]  # fmt: skip
    assert [each.stateful for each in found] == [False, True, False]
    assert [each.waits for each in found] == [False, True, False]
    assert [len(each.timed) for each in found] == [0, 1, 0]


def test_a_pipeline_without_one_is_one_part() -> None:
    (only,) = segments([], [], [])
    assert (only.plain, only.waits) == ([], False)
