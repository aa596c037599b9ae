"""What an aggregate computes."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.stateful.accumulators import Computed, Function, Parts, Value
from shared.errors import Malformed
from tests.unit.services.process_api.making import draft, event

_value: TypeAdapter[Any] = TypeAdapter(Value)
NUMBERS = st.lists(st.one_of(st.integers(-(10**25), 10**25), st.decimals("-1e9", "1e9", places=4)), min_size=1)


def computed(function: str, *texts: str, times: list[int] | None = None) -> Any:
    found = Computed("x", _value.validate_python("count" if function == "count" else {function: "n"}))
    parts: Parts | None = None
    for number, text in enumerate(texts):
        at = number if times is None else times[number]
        parts = found.merged(parts, found.of(Draft(event(text=f'{{"n":{text}}}')), at))
    return None if parts is None else json.loads(found.accumulator.result(parts), parse_float=Decimal)


@given(NUMBERS)
def test_numbers_are_exact(numbers: list[Any]) -> None:
    texts = [str(number) for number in numbers]
    total = sum(map(Fraction, numbers))
    assert Fraction(computed("sum", *texts)) == total
    assert computed("min", *texts) == min(numbers)
    assert computed("max", *texts) == max(numbers)
    assert computed("count", *texts) == len(numbers)
    assert (
        abs(computed("avg", *texts) - sum(map(Decimal, numbers)) / len(numbers)) <= abs(max(numbers, key=abs)) / 10**15
    )


def test_fractions_add_as_on_paper() -> None:
    assert computed("sum", "0.1", "0.2") == Decimal("0.3")
    assert computed("avg", "1", "2") == Decimal("1.5")
    assert computed("sum", "1e300", "1e-300") == Decimal("1e300")


def test_first_and_last_go_by_time_and_then_by_order() -> None:
    texts = ('"a"', '"b"', '"c"', "[1]")
    assert computed("first", *texts, times=[5, 2, 2, 9]) == "b"
    assert computed("last", *texts, times=[9, 2, 9, 3]) == "c"
    assert computed("last", '{"deep":12345678901234567890}') == {"deep": 12345678901234567890}


def test_what_is_undefined_or_null_is_left_out() -> None:
    found = Computed("x", _value.validate_python({"sum": "absent"}))
    assert found.of(draft({"n": 1}), 0) is None
    assert found.merged(None, None) is None
    assert computed("sum", "null", "3", "null") == 3
    assert computed("sum", "null") is None


@pytest.mark.parametrize("text", ['"5"', "true", "[1]", "{}", "9" * 1001])
def test_what_is_no_number_is_rejected(text: str) -> None:
    with pytest.raises(Malformed, match=r"values\.x: found .*, expected a number"):
        computed("sum", text)


@pytest.mark.parametrize("function", ["sum", "min", "max", "avg"])
@pytest.mark.parametrize("text", ["1e400", "-1e9999999", "1e99999999999999999999", "9" * 1000])
def test_a_number_that_overflows_a_double_is_rejected(function: str, text: str) -> None:
    # Kept, it would fail when its window ends, where no event is left to reject.
    with pytest.raises(Malformed, match=r"values\.x: found .*, expected at most 1\.8e308"):
        computed(function, text)


def test_sums_out_of_range_and_values_that_are_too_long() -> None:
    with pytest.raises(Malformed, match=r"values\.x: the sum is out of range"):
        computed("sum", *["1.7e308"] * 6)
    with pytest.raises(Malformed, match="a value of 70002 bytes"):
        computed("last", f'"{"x" * 70_000}"')


@pytest.mark.parametrize("written", [{}, {"sum": "a", "min": "b"}, "sum", {"sum": "1 +"}])
def test_functions_that_are_none(written: Any) -> None:
    with pytest.raises(ValidationError):
        _value.validate_python(written)


def test_a_function_names_itself() -> None:
    function = Function.model_validate({"max": "price"})
    assert (function.name, function.expression) == ("max", "price")
