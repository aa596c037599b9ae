"""Events of rows that were deleted."""

import json
import random

from services.system_api.sources.source import Batch, EventBuilder
from services.system_api.sources.table.diff.deletions import Deletions, KeyColumn
from shared.runtime.clock import SYSTEM_CLOCK


def test_the_data_is_the_key_with_the_types_of_its_columns() -> None:
    builder = EventBuilder("orders", "order.deleted", None, SYSTEM_CLOCK, random.Random(1))
    batch = Batch()
    deletions = Deletions(builder, [KeyColumn("id", verbatim=True), KeyColumn("name", verbatim=False)])
    deletions.add([("17,a%2C5", "ann"), ("18,b", None)], 7, batch)
    [record] = batch.records
    event = json.loads(record.value or b"")
    assert (event["id"], event["type"], event["subject"]) == ("orders:17,a%2C5@7", "order.deleted", "ann")
    assert event["data"] == {"id": 17, "name": "a,5"}
