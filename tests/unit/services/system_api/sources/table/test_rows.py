"""Rows become events, or rejects that name the table and the row."""

import json
import random

from services.system_api.sources.source import Batch, EventBuilder
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.null_key_rows import NullKeyRow
from services.system_api.sources.table.rows import RowEvents
from shared.runtime.clock import SYSTEM_CLOCK


def events(limit: int = 100) -> RowEvents[int]:
    builder = EventBuilder("orders", "t", None, SYSTEM_CLOCK, random.Random(1))
    return RowEvents(builder, "shop.orders", "who", limit, lambda row: f"{row.key}@{row.order}", lambda _: None)


def test_a_row_is_an_event() -> None:
    batch = Batch()
    events().add([Row(5, "1", "", "ann", b'{"n":9007199254740993}')], batch)
    (record,) = batch.records
    event = json.loads(record.value or b"")
    assert (event["id"], event["subject"], event["data"]) == ("orders:1@5", "ann", {"n": 9007199254740993})
    assert record.key == b"ann"


def test_a_row_that_cannot_be_an_event_is_a_reject_and_stops_nothing() -> None:
    batch = Batch()
    rows = [
        Row(5, "1", "", None, b"{}"),
        Row(5, "2", "", "ann", b"x" * 70_000),
        Row(5, "3", "", "ann", b"?", "column 'n' is inf"),
        Row(5, "4", "", "ann", b"{}"),
    ]
    events().add(rows, batch)
    assert len(batch.records) == 1
    assert [(reject.id, reject.error, len(reject.value)) for reject in batch.rejects] == [
        ("orders:1@5", "shop.orders, key 1: column 'who' is NULL", 2),
        ("orders:2@5", "shop.orders, key 2: found a row of 70000 bytes, the limit is 100", 65_536),
        ("orders:3@5", "shop.orders, key 3: column 'n' is inf", 1),
    ]
    assert batch.rejects[0].origin == "orders:shop.orders:key 1"


def test_a_row_without_a_key_is_identified_by_its_contents() -> None:
    batch = Batch()
    events().reject_null_key_rows([NullKeyRow("abc", b"{}", "column 'id' is NULL")], batch)
    assert [reject.id for reject in batch.rejects] == ["orders:null-key.abc"]


def test_data_that_a_strict_reader_refuses_is_a_reject() -> None:
    batch = Batch()
    rows = [Row(5, "1", "", "ann", b'{"n":1e999}'), Row(5, "2", "", "ann", b'{"n":1}')]
    assert events().add(rows, batch) == {"1"}
    assert len(batch.records) == len(batch.rejects) == 1
