"""How many rows are read at once."""

import pytest

from services.system_api.sources.portions import Portions
from shared.errors import Malformed, Unavailable


def failing(portions: Portions, error: Exception) -> int:
    """Return how many rows a read asks for that fails."""
    numbers: list[int] = []

    def read() -> None:
        with portions.reading(1000) as asked:
            numbers.append(asked)
            raise error

    with pytest.raises(type(error)):
        read()
    return numbers[0]


def test_as_many_are_read_as_are_wanted_and_allowed() -> None:
    portions = Portions(100)
    for wanted, expected in ((7, 7), (1000, 100), (0, 1)):
        with portions.reading(wanted) as asked:
            assert asked == expected


def test_a_read_that_fails_is_repeated_with_fewer() -> None:
    portions = Portions(100)
    assert [failing(portions, Unavailable("no answer in time")) for _ in range(5)] == [100, 25, 6, 1, 1]
    for expected in (1, 2, 3, 4, 6, 8, 11, 14, 18, 23):
        with portions.reading(1000) as asked:
            assert asked == expected
    found = []
    for _ in range(10):
        with portions.reading(1000) as asked:
            found.append(asked)
    assert found[-1] == 100


def test_another_error_changes_nothing() -> None:
    portions = Portions(100)
    assert failing(portions, Malformed("a row")) == 100
    with portions.reading(1000) as number:
        assert number == 100
