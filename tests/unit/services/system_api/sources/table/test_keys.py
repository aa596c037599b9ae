"""Keys of several columns as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.table.keys import decoded, encoded

VALUES = st.lists(st.text(alphabet="a,%2C5é ", max_size=8), min_size=1, max_size=4)


@given(VALUES)
def test_a_key_is_decoded_to_its_values(values: list[str]) -> None:
    assert decoded(encoded(values), len(values)) == values


@given(VALUES, VALUES)
def test_two_keys_of_as_many_columns_never_share_a_text(one: list[str], other: list[str]) -> None:
    if len(one) == len(other):
        assert (encoded(one) == encoded(other)) == (one == other)


def test_one_value_stays_as_it_is() -> None:
    assert encoded(["a,b%"]) == "a,b%"


def test_a_key_of_other_columns_is_an_error() -> None:
    with pytest.raises(ValueError, match="found the key '1,2,3'; expected 2 values"):
        decoded("1,2,3", 2)
