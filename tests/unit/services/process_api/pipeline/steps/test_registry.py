"""How steps are written, built and explained."""

import asyncio
import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from services.process_api.pipeline.pipeline import Input, Pipeline, PipelineOptions
from services.process_api.pipeline.steps.client import LazyClient
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.filter import FilterOptions
from services.process_api.pipeline.steps.flow.reuse import expanded
from services.process_api.pipeline.steps.registry import STEPS, AnyStep
from services.process_api.pipeline.steps.step import Step, StepOptions, WaitingStep
from shared.http.client.client import Request, Response
from tests.unit.services.process_api.making import event
from tests.unit.services.process_api.pipeline.steps.stateful.stepping import Stepping
from tests.unit.services.process_api.pipeline.steps.waiting import scope

WRITTEN: list[Any] = [
    {"filter": "amount > 100"},
    {"map": "{'a': b}"},
    {"set": {"data.region": "eu", "data.total": "=price"}},
    {"drop": "data.card"},
    {"rename": {"data.a": "data.b"}},
    {"route": "'orders.' & region"},
    {"repartition": "customer"},
    {"validate": {"type": "object"}},
    {"python": "copy:copy"},
    {"mask": {"redact": ["data.a"]}},
    {"convert": {"data.a": "number", "data.b": {"from": "xml", "to": "json"}}},
    {"call": {"url": "https://a.example/{id}"}},
    {"branch": {"cases": [{"when": "a", "steps": [{"filter": "b"}]}]}},
    {"parallel": {"lists": {"a": [{"map": "b"}]}, "merge": "a"}},
    {"foreach": {"items": "data.lines", "steps": [{"map": "b"}]}},
    {"split": "lines"},
    {"emit": ["a.b", "=c"]},
    {"use": {"list": "a", "steps": [{"map": "b"}]}},
    {"enrich": {"http": {"url": "https://a.example/{key}"}, "key": "a", "into": "data.b"}},
    {"dedupe": {"by": ["id"], "within": 60.0}},
    {"latest": {"every": 100}},
    {"aggregate": {"window": {"tumbling": 60.0}, "values": {"n": "count", "sum": {"sum": "a"}}}},
    {"join": {"left": "a", "right": "b", "within": 60.0}},
    {"table": {"of": "a", "into": "data.a"}},
    {"schedule": {"quiet": 300}},
]
adapter: TypeAdapter[Any] = TypeAdapter(AnyStep)


@pytest.mark.parametrize("written", WRITTEN)
def test_every_kind_is_written_in_one_line_and_built(written: Any) -> None:
    options = adapter.validate_python(written)
    assert [options.kind] == list(written)
    assert isinstance(options.build(StepContext()), Step | WaitingStep)


def test_every_kind_is_among_those_that_are_written() -> None:
    assert {type(adapter.validate_python(written)) for written in WRITTEN} == set(STEPS)


@pytest.mark.parametrize("written", WRITTEN)
def test_a_step_is_dumped_as_it_was_written(written: Any) -> None:
    assert adapter.dump_python(adapter.validate_python(written), by_alias=True, exclude_unset=True) == written


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind)
async def test_the_example_of_a_step_is_true(
    step: type[StepOptions], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    example = step.example

    async def request(_client: LazyClient, request: Request) -> Response:
        return Response(request.url, 200, {}, (), json.dumps(example.response).encode())

    monkeypatch.setattr(LazyClient, "request", request)
    monkeypatch.chdir(tmp_path)
    for name, content in example.files.items():
        (tmp_path / name).write_text(content)
    module = types.ModuleType("shop.orders")
    exec(example.module, module.__dict__)  # noqa: S102 -- the code of the documentation
    monkeypatch.setitem(sys.modules, "shop.orders", module)
    written = yaml.safe_load(example.step)
    assert list(written) == [step.kind]
    assert example.cases
    bench = Stepping(written) if step.stateful else None
    if bench is not None:
        bench.now = 10**11  # after the times in the examples
    settings = {"sources": ["*"], "channel": "orders", "steps": expanded({"a": [written]}, example.lists)[0]["a"]}
    options = await asyncio.to_thread(PipelineOptions.model_validate, settings)  # it may read a file
    for before, after in example.cases:
        if bench is not None:
            outputs = bench.send(**before)
        else:
            outputs = await outputs_of(options, before)
        assert len(outputs) == len(after)
        for output, expected in zip(outputs, after, strict=True):
            assert expected.items() <= output.items()


async def outputs_of(options: PipelineOptions, before: Mapping[str, Any]) -> list[Any]:
    made = Pipeline("orders", options)
    attributes = {name: each for name, each in before.items() if name != "data"}
    (outcome,) = await made.start([Input(event(before["data"], **attributes))], scope())
    result = await made.finish(outcome, (), scope())
    assert isinstance(result, list), result
    return [json.loads(output.value or b"") for output in result]


def test_options_are_taken_as_they_are() -> None:
    options = FilterOptions(filter="a")
    assert adapter.validate_python(options) is options


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"filtr": "a"}, "unknown key 'filtr'; did you mean 'filter'"),
        ({"filter": "a", "map": "b"}, "expected one step"),
        ({}, "expected one step"),
        ("filter", "expected one step"),
        ({5: "a"}, "unknown key '5'"),
        ({"filter": "a +"}, "does not compile"),
        ({"filter": 5}, "valid string"),
    ],
)
def test_a_malformed_step_is_refused_with_the_reason(written: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        adapter.validate_python(written)


@pytest.mark.parametrize(
    ("written", "expressions"),
    [
        ({"filter": "a"}, ["a"]),
        ({"map": "b"}, ["b"]),
        ({"set": {"data.x": "=c", "data.y": 1}}, ["c"]),
        ({"route": "d"}, ["d"]),
        ({"repartition": "d"}, ["d"]),
        ({"route": {"by": "e", "table": {"a": "b"}}}, ["e"]),
        ({"drop": "data.x"}, []),
        ({"call": {"url": "https://a.example/{id}", "body": "b"}}, ["id", "b"]),
        ({"branch": {"cases": [{"when": "a", "steps": []}]}}, ["a"]),
        ({"parallel": {"lists": {"a": []}, "merge": "b"}}, ["b"]),
        ({"split": "lines"}, ["lines"]),
        ({"emit": ["a", "=b"]}, ["b"]),
        ({"python": "copy:copy"}, []),
    ],
)
def test_a_step_lists_its_expressions(written: Any, expressions: list[str]) -> None:
    assert adapter.validate_python(written).expressions() == expressions
