"""The header that says in which part of a pipeline an event goes on."""

import pytest

from services.process_api.pipeline.part import PART, Part, part_in
from shared.events.headers import headers_of


@pytest.mark.parametrize(
    "part",
    [
        Part("totals", 1),
        Part("totals-2", 2, "orders.eu", 3, 4, 5),
        Part("totals", 1, "", 3, 4, 5, "0-17"),
        Part("totals", 1, "orders.eu", 3, 4, 5, "0-17"),
    ],
    ids=["first", "later", "edited", "edited with a channel"],
)
def test_a_part_is_read_as_it_was_written(part: Part) -> None:
    assert part_in((*headers_of(b"orders 1 a"), part.header())) == part


def test_other_records_have_none() -> None:
    assert part_in(headers_of(b"orders 1 a")) is None
    assert part_in(()) is None


@pytest.mark.parametrize("value", [b"", b"1", b"x 0 0 0 totals ", b"1 0 0 0  c", b"\xff"], ids=range(5))
def test_one_that_cannot_be_read_names_no_pipeline(value: bytes) -> None:
    assert part_in(((PART, value),)) == Part("", 0)
