"""Rows of Parquet files keep their values, as JSON has them."""

import io
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.system_api.sources.file.documents import parquet
from services.system_api.sources.file.documents.parquet import read_parquet
from services.system_api.sources.file.documents.records import FoundRecord, UnreadableDocument

NOON = datetime(2026, 1, 31, 12, 0, 0, 123456)  # noqa: DTZ001 -- of a column without a time zone


def written(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def found(content: bytes, start: int = 0) -> list[FoundRecord]:
    return [record for record in read_parquet(io.BytesIO(content), start) if record is not None]


@pytest.mark.parametrize(
    ("type_", "value", "json_text"),
    [
        (pa.int64(), 2**63 - 1, "9223372036854775807"),
        (pa.uint64(), 2**64 - 1, "18446744073709551615"),
        (pa.decimal128(30, 2), Decimal("123456789012345678.90"), "123456789012345678.90"),
        (pa.float64(), 0.1, "0.1"),
        (pa.bool_(), True, "true"),
        (pa.string(), "Zoë", '"Zoë"'),
        (pa.binary(), b"\xff", '"/w=="'),
        (pa.date32(), date(2026, 1, 31), '"2026-01-31"'),
        (pa.time64("us"), time(1, 2, 3), '"01:02:03"'),
        (pa.duration("s"), timedelta(seconds=5), '"PT5S"'),
        (pa.timestamp("us"), NOON, '"2026-01-31T12:00:00.123456"'),
        (pa.timestamp("us", tz="Europe/Berlin"), NOON.replace(tzinfo=UTC), '"2026-01-31T12:00:00.123456Z"'),
        (pa.timestamp("ns"), 1_700_000_000_123_456_789, '"2023-11-14T22:13:20.123456789"'),
        (pa.list_(pa.timestamp("ms")), [NOON.replace(microsecond=0), None], '["2026-01-31T12:00:00.000",null]'),
        (pa.large_list(pa.int8()), [1], "[1]"),
        (pa.struct([("t", pa.timestamp("s", tz="UTC"))]), {"t": NOON.replace(microsecond=0, tzinfo=UTC)},
         '{"t":"2026-01-31T12:00:00.000Z"}'),
        (pa.map_(pa.string(), pa.int8()), [("k", 1)], '{"k":1}'),
        (pa.map_(pa.string(), pa.int8()), [("k", 1), ("k", 2)], '[["k",1],["k",2]]'),
        (pa.dictionary(pa.int8(), pa.string()), "x", '"x"'),
        (pa.date32(), 2_932_897, '"10000-01-01"'),
        (pa.date64(), date(2026, 1, 31), '"2026-01-31"'),
        (pa.time64("ns"), 3_723_000_000_000, '"01:02:03"'),
        (pa.time64("ns"), 3_723_000_000_001, '"01:02:03.000000001"'),
        (pa.duration("ns"), 5_500_000_000, '"PT5.5S"'),
        (pa.duration("ns"), -86_401_000_000_001, '"-P1DT1.000000001S"'),
        (pa.duration("ns"), 1, '"PT0.000000001S"'),
        (pa.timestamp("ms"), 2**63 - 1, '"292278994-08-17T07:12:55.807"'),
        (pa.timestamp("us", tz="UTC"), -(2**63), '"-290308-12-21T19:59:05.224192Z"'),
        (pa.map_(pa.string(), pa.timestamp("ns")), [("k", 1)], '{"k":"1970-01-01T00:00:00.000000001"}'),
        (pa.map_(pa.timestamp("s"), pa.int8()), [(0, 1)], '{"1970-01-01T00:00:00.000":1}'),
        (pa.list_(pa.timestamp("ns"), 2), [1, None], '["1970-01-01T00:00:00.000000001",null]'),
        (pa.list_(pa.map_(pa.string(), pa.time64("ns"))), [[("k", 1)], None], '[{"k":"00:00:00.000000001"},null]'),
        (pa.struct([("a", pa.list_(pa.duration("ns")))]), {"a": [1]}, '{"a":["PT0.000000001S"]}'),
    ],
)  # fmt: skip
def test_a_value_is_json_and_null_is_null(type_: pa.DataType, value: Any, json_text: str) -> None:
    records = found(written(pa.table({"v": pa.array([value, None], type_)})))
    assert [record.data.decode() for record in records] == [f'{{"v":{json_text}}}', '{"v":null}']


def test_a_map_with_a_name_twice_changes_no_other_row() -> None:
    column = pa.array([[("a", 1), ("a", 2)], [("b", 1)]], pa.map_(pa.string(), pa.int64()))
    assert [record.data for record in found(written(pa.table({"v": column})))] == [
        b'{"v":[["a",1],["a",2]]}', b'{"v":{"b":1}}'
    ]  # fmt: skip


@pytest.mark.parametrize("nested", [False, True])
def test_a_text_that_is_not_utf8_is_an_error_of_its_row(nested: bool) -> None:
    texts = pa.Array.from_buffers(pa.string(), 3, pa.array([b"a", b"\xff", b"c"]).buffers())
    column = pa.StructArray.from_arrays([texts], names=["t"]) if nested else texts
    records = found(written(pa.table({"v": column, "w": [1, 2, 3]})))
    assert [record.error for record in records] == [None, "v: found text that is not UTF-8", None]
    assert b"'w': 2" in records[1].data
    assert nested or b"\\xff" in records[1].data


def test_two_columns_of_one_name_are_refused() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["v", "v"])
    with pytest.raises(UnreadableDocument, match="found column 'v' twice"):
        found(written(table))
    fields = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["f", "f"])
    (record,) = found(written(pa.table({"v": fields})))
    assert (record.error or "").startswith("v: found a value of the type struct<f: int64, f: int64> that cannot be")


def test_numbers_that_are_not_finite_are_errors_of_their_rows() -> None:
    records = found(written(pa.table({"v": [1.5, float("nan"), float("inf"), 2.5]})))
    assert [record.error for record in records] == [
        None, "v: found nan; expected a finite number", "v: found inf; expected a finite number", None
    ]  # fmt: skip
    assert records[1].data == b"{'v': nan}"


@pytest.mark.parametrize("start", [0, 1, 9, 10, 15, 30, 35])
def test_what_was_published_before_is_passed_by(start: int) -> None:
    content = written(pa.table({"v": list(range(30))}), row_group_size=10)
    records = found(content, start)
    assert [json.loads(record.data)["v"] for record in records[start:]] == list(range(start, 30))
    assert [record.data for record in records[:start]] == [b""] * min(start, 30)


def test_few_rows_are_decoded_at_once_if_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_BYTES", 1000)
    content = written(pa.table({"v": [f"{number}" * 400 for number in range(20)]}), use_dictionary=False)
    rows = list(read_parquet(io.BytesIO(content), 0))
    assert rows.count(None) >= 10
    assert len(rows) - rows.count(None) == 20


@pytest.mark.parametrize("cut", [0, 4, 100, -5])
def test_a_broken_file_is_an_error(cut: int) -> None:
    content = written(pa.table({"v": list(range(1000))}))
    with pytest.raises(UnreadableDocument, match="not a Parquet file that can be read"):
        found(content[:cut])
    with pytest.raises(UnreadableDocument):
        found(content[:100] + b"\x00" * 400 + content[500:])


def test_an_error_of_the_disk_is_no_error_of_the_file() -> None:
    class Broken(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        list(read_parquet(Broken(written(pa.table({"v": [1]}))), 0))
