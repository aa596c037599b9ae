"""Records of Avro files keep their values, as JSON has them."""

import io
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import pytest

from services.system_api.sources.file.documents.avro import read_avro
from services.system_api.sources.file.documents.records import FoundRecord, UnreadableDocument
from tests.unit.services.system_api.sources.file.documents.test_json_items import Portions


def written(type_: Any, *values: Any, interval: int = 16_000) -> bytes:
    file = io.BytesIO()
    schema = {"type": "record", "name": "Row", "fields": [{"name": "v", "type": type_}]}
    fastavro.writer(file, schema, [{"v": value} for value in values], "deflate", interval)
    return file.getvalue()


def found(content: bytes, start: int = 0, size: int = 1 << 20) -> list[FoundRecord]:
    return [record for record in read_avro(Portions(content, size), start) if record is not None]


@pytest.mark.parametrize(
    ("type_", "value", "json_text"),
    [
        ("long", 2**63 - 1, "9223372036854775807"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}, Decimal("12.30"), "12.30"),
        ("double", 0.1, "0.1"),
        (["null", "string"], None, "null"),
        ("bytes", b"\xff", '"/w=="'),
        ({"type": "int", "logicalType": "date"}, date(2026, 1, 31), '"2026-01-31"'),
        ({"type": "int", "logicalType": "time-millis"}, time(1, 2, 3), '"01:02:03"'),
        ({"type": "long", "logicalType": "timestamp-millis"}, datetime(2026, 1, 31, tzinfo=UTC),
         '"2026-01-31T00:00:00Z"'),
        ({"type": "long", "logicalType": "local-timestamp-micros"}, datetime(2026, 1, 31), '"2026-01-31T00:00:00"'),  # noqa: DTZ001
        ({"type": "long", "logicalType": "timestamp-nanos"}, 1_700_000_000_123_456_789,
         '"2023-11-14T22:13:20.123456789Z"'),
        ({"type": "long", "logicalType": "local-timestamp-nanos"}, -1, '"1969-12-31T23:59:59.999999999"'),
        ({"type": "string", "logicalType": "uuid"}, UUID(int=5), '"00000000-0000-0000-0000-000000000005"'),
        ({"type": "map", "values": "int"}, {"k": 1}, '{"k":1}'),
        ({"type": "array", "items": "string"}, ["a"], '["a"]'),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "A", '"A"'),
    ],
)  # fmt: skip
def test_a_value_is_json(type_: Any, value: Any, json_text: str) -> None:
    (record,) = found(written(type_, value))
    assert record.data.decode() == f'{{"v":{json_text}}}'
    assert record.place == "block 0"


def test_a_number_that_is_not_finite_is_an_error_of_its_record() -> None:
    records = found(written("double", 1.5, float("nan"), 2.5))
    assert [record.error for record in records] == [None, "v: found nan; expected a finite number", None]


@pytest.mark.parametrize(
    ("type_", "values", "error"),
    [
        (
            {"type": "long", "logicalType": "timestamp-millis"},
            (0, 2**63 - 1, 1),
            "found 9223372036854775807; expected a",
        ),
        ({"type": "int", "logicalType": "date"}, (0, 2**31 - 1, 1), "of the type date ("),
        ({"type": "long", "logicalType": "time-micros"}, (0, 2**62, 1), "of the type time-micros ("),
        (
            {"type": "string", "logicalType": "uuid"},
            (str(UUID(int=1)), "none", str(UUID(int=2))),
            "found none; expected",
        ),
    ],
)
def test_a_value_that_has_no_meaning_is_an_error_of_its_record(type_: Any, values: Any, error: str) -> None:
    schema = {"type": "array", "items": type_}
    records = found(written(schema, *([value] for value in values)))
    assert [record.error is None for record in records] == [True, False, True]
    assert (records[1].error or "").startswith("v[0]: ")
    assert error in (records[1].error or "")
    assert records[1].data == repr({"v": [values[1]]}).encode()


def test_a_text_that_is_not_utf8_is_an_error_of_its_record() -> None:
    file = io.BytesIO()
    schema = {"type": "record", "name": "Row", "fields": [{"name": "v", "type": "string"}]}
    fastavro.writer(file, schema, [{"v": "first"}, {"v": "other"}, {"v": "third"}])
    records = found(file.getvalue().replace(b"other", b"ot\xffer"))
    assert [record.error for record in records] == [None, "not JSON: found text that UTF-8 cannot encode", None]


@pytest.mark.parametrize("start", [0, 1, 50, 99, 100, 120])
@pytest.mark.parametrize("size", [7, 1 << 20])
def test_what_was_published_before_is_passed_by(start: int, size: int) -> None:
    records = found(written("long", *range(100), interval=20), start, size)
    assert [json.loads(record.data)["v"] for record in records[start:]] == list(range(start, 100))
    assert [record.data for record in records[:start]] == [b""] * min(start, 100)


@pytest.mark.parametrize("content", [b"", b"Obj\x01", b"hello" * 100, written("long", 1)[:60]])
def test_what_is_no_avro_file_is_an_error(content: bytes) -> None:
    with pytest.raises(UnreadableDocument, match="not an Avro file that can be read: "):
        found(content)


def test_a_file_that_is_cut_off_is_an_error_behind_its_blocks() -> None:
    content = written("long", *range(1000), interval=100)
    taken: list[FoundRecord | None] = []
    with pytest.raises(UnreadableDocument):
        taken.extend(read_avro(io.BytesIO(content[: len(content) // 2]), 0))
    assert 300 < len(taken) - taken.count(None) < 700


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), UnreadableDocument("the gzip data is broken")])
def test_errors_of_what_is_below_stay_what_they_are(error: Exception) -> None:
    class Broken(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise error

    with pytest.raises(type(error), match=str(error).partition("] ")[2] or str(error)):
        list(read_avro(Broken(), 0))
