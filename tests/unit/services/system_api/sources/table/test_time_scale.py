"""What the order values of a column of times are."""

import math

import pytest

from services.system_api.sources.table.time_scale import (
    Days,
    Floats,
    Integers,
    Microseconds,
    TimeScale,
    float_of,
    numbers,
    order_of,
)
from services.system_api.sources.table.timestamps import SINCE_1970

NOON = 12 * 3600 * 10**6
"""Noon of the first day of 2000."""


@pytest.mark.parametrize(
    ("scale", "order", "text"),
    [
        (Microseconds(), NOON, f"{NOON + SINCE_1970}"),
        (Days(), 0, "2000-01-01"),
        (Integers(1), 946_728_000, "946728000"),
        (Integers(1000), 946_728_000_000, "946728000000"),
        (Floats(1), order_of(946_728_000.0), "946728000.0"),
        (Floats(1000), order_of(946_728_000_000.0), "946728000000.0"),
    ],
)
def test_a_time_becomes_an_order_value_and_back(scale: TimeScale, order: int, text: str) -> None:
    assert scale.at(NOON) == order
    assert scale.text(order) == text
    assert scale.micros(order) == (0 if isinstance(scale, Days) else NOON)


def test_an_order_value_is_never_above_its_time() -> None:
    for scale in (Microseconds(), Days(), Integers(1), Integers(10**9)):
        for micros in (-1, 0, 1, 999_999, NOON - 1, 800_000_000_000_001):
            assert scale.micros(scale.at(micros)) <= micros
            assert scale.micros(scale.at(micros) + 1) > micros or scale == Integers(10**9)


def test_numbers_sort_like_their_order_values() -> None:
    values = [-math.inf, -1e300, -2.5, -0.0, 0.0, 1e-300, 1.5, 1_700_000_000.25, 1e300, math.inf]
    orders = [order_of(value) for value in values]
    assert orders == sorted(orders)
    assert [float_of(order) for order in orders] == values
    assert order_of(-0.0) == order_of(0.0)
    assert order_of(math.nan) == order_of(-math.nan) > order_of(math.inf)


def test_times_without_an_end() -> None:
    assert Floats(1).micros(order_of(math.inf)) > 10**18
    assert Floats(1).micros(order_of(-math.inf)) < -(10**18)
    assert Days().text(2**31 - 1) == f"{2**31 - 1}"


def test_the_unit_and_the_type_choose_the_scale() -> None:
    assert numbers("milliseconds") == Integers(1000)
    assert numbers("seconds", floating=True) == Floats(1)
