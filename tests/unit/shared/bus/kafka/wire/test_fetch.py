"""Fetch requests and responses on the wire."""

import struct
from io import BytesIO
from typing import Any

from shared.bus.kafka.wire.fetch import FetchPosition, FetchRequest, FetchResponse, diverging_offset, fetch


def test_a_request_carries_both_epochs() -> None:
    request = fetch("größe", [(3, FetchPosition(7, 5, 4))], wait=0.5, max_bytes=1000, partition_max_bytes=100)
    decoded = FetchRequest.decode(BytesIO(request.prepare({1: (4, 17)}).encode()))
    assert decoded.topics == [("größe", [(3, 5, 7, 4, -1, 100, {})], {})]
    assert (decoded.replica_id, decoded.isolation_level, decoded.session_epoch) == (-1, 1, -1)
    assert (decoded.max_wait_ms, decoded.max_bytes) == (500, 1000)


def test_a_response_on_the_wire() -> None:
    partitions: list[tuple[Any, ...]] = [
        (3, 0, 9, 8, 0, [(1, 2, {})], -1, b"records", {}),
        (4, 1, -1, -1, -1, None, -1, None, {}),
    ]
    made = FetchResponse(0, 0, 0, [("t", partitions, {})], {})
    assert FetchResponse.decode(BytesIO(made.encode())).topics == [("t", partitions, {})]


def test_the_offset_at_which_two_logs_diverge() -> None:
    assert diverging_offset({}) is None
    assert diverging_offset({1: b"x"}) is None
    assert diverging_offset({0: struct.pack(">iqB", 3, 2**40, 0)}) == 2**40
