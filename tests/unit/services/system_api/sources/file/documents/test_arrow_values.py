"""Values of Arrow columns, as JSON has them."""

from typing import Any

import msgspec
import pyarrow as pa
import pytest

from services.system_api.sources.file.documents.arrow_values import values_of
from services.system_api.sources.file.documents.records import UnreadableValue


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_far_from_now_are_written_as_those_near_are(unit: str) -> None:
    """Arrow writes years of 16 bits alone; the others are written by the calendar, which repeats."""
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    seconds = [0, -1, 951_782_400, 4_102_444_800, -2_208_988_800]
    near = pa.array([second * per_second for second in seconds], pa.timestamp(unit))
    written = values_of(near)
    far = values_of(pa.concat_arrays([near, pa.array([2**63 - 1, -(2**63), None], pa.timestamp(unit))]))
    assert far[:5] == written
    assert far[7] is None
    if unit == "s":
        assert far[5:7] == ["292277026596-12-04T15:30:07", "-292277022657-01-27T08:29:52"]


@pytest.mark.parametrize(
    ("values", "type_", "found"),
    [
        ([1, None], pa.time64("ns"), ["00:00:00.000000001", None]),
        ([1_500_000_000], pa.duration("ns"), [msgspec.convert("PT1.5S", Any)]),
        ([[1], None], pa.list_(pa.time64("us")), None),
        ([], pa.timestamp("ns"), []),
        ([None], pa.null(), [None]),
    ],
)
def test_values(values: list[Any], type_: pa.DataType, found: list[Any] | None) -> None:
    made = values_of(pa.array(values, type_))
    if found is None:
        found = pa.array(values, type_).to_pylist()
    assert msgspec.json.encode(made) == msgspec.json.encode(found)


@pytest.mark.parametrize("values", [[[1], None, [2, 3], [], [4]], [[1], [2]], [None], []])
@pytest.mark.parametrize("kind", [pa.list_view, pa.large_list_view, pa.list_, pa.large_list])
def test_lists_of_every_layout_have_all_values(kind: Any, values: list[Any]) -> None:
    """The last one of a view was lost."""
    column = pa.array(values, kind(pa.int64()))
    assert values_of(column) == values
    assert values_of(column.slice(1, 3)) == values[1:4]
    nested = pa.array([{"a": each} for each in values], pa.struct([("a", kind(pa.timestamp("s")))]))
    assert [each["a"] and len(each["a"]) for each in values_of(nested)] == [each and len(each) for each in values]


def test_a_value_that_cannot_be_read_is_marked() -> None:
    texts = pa.Array.from_buffers(pa.string(), 2, pa.array([b"a", b"\xff"]).buffers())
    first, second = values_of(texts)
    assert first == "a"
    assert isinstance(second, UnreadableValue)
    assert (second.reason, repr(second)) == ("found text that is not UTF-8", repr(b"\xff"))
