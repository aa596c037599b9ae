"""`python`."""

import asyncio
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from pydantic import ValidationError

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps import python
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.python import PythonOptions
from services.process_api.pipeline.steps.step import WaitingStep
from shared.errors import Malformed, Unavailable
from shared.runtime.tasks import within
from tests.unit.services.process_api.making import applied, apply, data_of, draft, event, text_of_data, without_data
from tests.unit.services.process_api.pipeline.steps import functions
from tests.unit.services.process_api.pipeline.steps.waiting import scope

HERE = "tests.unit.services.process_api.pipeline.steps.functions"


def step(name: str) -> dict[str, str]:
    return {"python": f"{HERE}:{name}"}


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("double", {"amount": 2, "x": 1}, {"amount": 4, "x": 1}),
        ("Prices.double", {"amount": 2}, {"amount": 4}),
        ("optional", {"amount": 2}, 6),
        ("made", [], None),
        ("nulls", {}, {"prices": [1.5, None], "note": "null"}),
        ("keep", None, None),
    ],
)
def test_the_entity_is_what_it_returns(name: str, data: Any, expected: Any) -> None:
    made = [data_of(each.encoded(b'"c"')) for each in apply(step(name), draft(data))]
    assert made == ([] if expected is None else [expected])


def test_a_function_of_two_arguments_sees_the_attributes() -> None:
    found = applied(step("with_event"), event({"a": 1}, zone="eu"))["data"]
    assert found["data"] == {"a": 1}
    assert found["event"] == {
        "specversion": "1.0",
        "source": "/sources/orders",
        "type": "order.updated",
        "id": "orders:7",
        "subject": "C-1",
        "zone": "eu",
    }


def test_none_ends_the_event() -> None:
    assert apply(step("drop"), draft({})) == []


@pytest.mark.parametrize(
    ("lines", "ids"),
    [([], []), ([{"n": 1}], ["orders:7"]), ([{"n": 1}, {"n": 2}], ["orders:7/1", "orders:7/2"])],
)
def test_a_list_is_several_events(lines: list[Any], ids: list[str]) -> None:
    made = apply(step("lines"), draft({"lines": lines}))
    assert [each.attribute("id") for each in made] == ids
    assert [data_of(each.encoded(b'"c"')) for each in made] == lines


def test_numbers_are_exact_both_ways() -> None:
    text = '{"id":9007199254740993,"price":1.5,"rate":0.1234567890123456789}'
    functions.seen.clear()
    (made,) = apply(step("keep"), Draft(event(text=text)))
    (seen,) = functions.seen
    assert [type(seen[name]) for name in ("id", "price", "rate")] == [int, float, Decimal]
    assert text_of_data(made.encoded(b'"c"')) == text


def test_a_number_that_no_double_holds_is_rejected() -> None:
    with pytest.raises(Malformed, match=r"huge, byte 8: found the number 1E\+400"):
        apply(step("keep"), Draft(event(text='{"huge":1e400}')))


def test_an_event_without_an_entity_gives_none() -> None:
    functions.seen.clear()
    assert apply(step("keep"), Draft(without_data())) == []
    assert functions.seen == [None]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fail", "functions:fail raised KeyError: 'missing'"),
        ("no_json", "functions:no_json returned a value that is not JSON"),
        ("no_number", "functions:no_number returned a value that is not JSON"),
        ("not_a_number", "functions:not_a_number returned a value that is not JSON: a number is infinite or NaN"),
        ("infinite", "functions:infinite returned a value that is not JSON: a number is infinite or NaN"),
        ("leave", "functions:leave raised SystemExit: for good"),
        ("cancel", "functions:cancel raised CancelledError: on its own"),
        ("no_text", "functions:no_text returned a value that is not JSON"),
        ("mute", "functions:mute raised MuteError"),
        ("odd_object", "functions:odd_object returned a value that is not JSON: "),
        ("cycle", "functions:cycle returned a value that is not JSON"),
    ],
)
def test_an_error_of_the_function_rejects_the_event(name: str, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        apply(step(name), draft({}))


def test_unavailable_makes_the_event_wait() -> None:
    with pytest.raises(Unavailable, match="the price list does not answer"):
        apply(step("wait"), draft({}))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"{HERE}:missing", "AttributeError"),
        ("nowhere.at.all:f", "ModuleNotFoundError"),
        (f"{HERE}:not_callable", "not a plain function"),
        (f"{HERE}:three", r"expected \(data\) or \(data, event\)"),
        (f"{HERE}:none", r"expected \(data\) or \(data, event\)"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        PythonOptions(python=name).build(StepContext())


def test_a_builtin_without_a_signature_gets_the_entity() -> None:
    assert applied({"python": "builtins:dict"}, event([["a", 1]]))["data"] == {"a": 1}


@pytest.mark.parametrize("name", ["", "module", "module:", ":function", "a-b:c", "a:b:c", "a b:c"])
def test_a_malformed_name_is_refused_when_settings_are_read(name: str) -> None:
    with pytest.raises(ValidationError):
        PythonOptions(python=name)


async def test_a_function_that_ignores_its_cancellation_rejects_its_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "within", partial(within, interval=0.01, timeout=0.05))
    options = PythonOptions.model_validate({"python": {"function": f"{HERE}:stubborn", "timeout": 0.01}})
    built = options.build(StepContext())
    assert isinstance(built, WaitingStep)
    functions.attempts.clear()
    async with asyncio.timeout(60):
        found, quick = await built.apply_batch([draft({"ends": 10**6}), draft({"ends": 0})], scope())
    assert str(found) == f"{HERE}:stubborn took longer than 0.01 s"
    assert not isinstance(quick, Exception)
    assert len(quick) == 1
    functions.attempts.extend([None] * 10**6)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:  # the one that was abandoned
        task.cancel()
