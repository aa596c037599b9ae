"""Where the records of one partition end and those of the next one begin."""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.bus.postgres.fetcher import runs


@dataclass(frozen=True)
class Row:
    partition: int
    offset: int


@given(st.permutations(range(5)), st.lists(st.integers(0, 4), min_size=5, max_size=5))
def test_runs_are_the_groups_of_a_partition(order: list[int], sizes: list[int]) -> None:
    records: Any = [Row(number, offset) for number in order for offset in range(sizes[number])]
    found = {number: [records[index] for index in run] for number, run in runs(records, order)}
    assert found == {number: list(group) for number, group in groupby(records, key=lambda row: row.partition)}
