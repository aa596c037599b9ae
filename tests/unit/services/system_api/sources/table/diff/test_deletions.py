"""Events of rows that were deleted."""

import json
import random
from typing import Any

import pytest

from services.system_api.sources.source import Batch, EventBuilder
from services.system_api.sources.table.diff.deletions import Deletions, KeyColumn, verbatim
from shared.events import strict_json
from shared.runtime.clock import SYSTEM_CLOCK


def test_the_data_is_the_key_with_the_types_of_its_columns() -> None:
    builder = EventBuilder("orders", "order.deleted", None, SYSTEM_CLOCK, random.Random(1))
    batch = Batch()
    deletions = Deletions(builder, [KeyColumn("id", verbatim), KeyColumn("name")])
    deletions.add([("17,a%2C5", "ann"), ("18,b", None)], 7, batch)
    [record] = batch.records
    event = json.loads(record.value or b"")
    assert (event["id"], event["type"], event["subject"]) == ("orders:17,a%2C5@7", "order.deleted", "ann")
    assert event["data"] == {"id": 17, "name": "a,5"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("17", 17),
        ("-0.50", -0.5),
        ("1e+20", 1e20),
        ("true", True),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("inf", "inf"),
        ("{1,2}", "{1,2}"),
        ("007", "007"),
        ("00ff", "00ff"),
        ("1\n", "1\n"),
        ("", ""),
        ("x", "x"),
    ],
)
def test_a_text_that_is_no_json_remains_a_text(text: str, value: Any) -> None:
    builder = EventBuilder("orders", "order.deleted", None, SYSTEM_CLOCK, random.Random(1))
    batch = Batch()
    Deletions(builder, [KeyColumn("id", verbatim)]).add([(text, "s")], 1, batch)
    assert strict_json.is_plain(batch.records[0].value or b"")
    assert json.loads(batch.records[0].value or b"")["data"] == {"id": value}


def test_a_value_of_an_earlier_type_of_the_column_remains_a_text() -> None:
    builder = EventBuilder("orders", "order.deleted", None, SYSTEM_CLOCK, random.Random(1))
    batch = Batch()
    Deletions(builder, [KeyColumn("id", int)]).add([("A-7", "s")], 1, batch)
    assert json.loads(batch.records[0].value or b"")["data"] == {"id": "A-7"}
