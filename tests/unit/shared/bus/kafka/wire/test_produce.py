"""Produce requests on the wire, beside aiokafka's."""

import pytest
from aiokafka.protocol.produce import ProduceRequest

from shared.bus.kafka.wire.produce import produce


@pytest.mark.parametrize("transactional_id", [None, "trelay.orders-a"])
def test_a_produce_request_is_encoded_as_aiokafka_does(transactional_id: str | None) -> None:
    batches = {"orders": {0: (b"fi", b"rst"), 3: (b"second", b"")}, "größe": {1: (b"", b"")}}
    ours = produce(transactional_id, 2.5, batches).prepare({0: (3, 7)})
    listed = [
        (topic, [(number, b"".join(parts)) for number, parts in found.items()]) for topic, found in batches.items()
    ]
    theirs = ProduceRequest(transactional_id, -1, 2500, listed).prepare({0: (3, 7)})
    header = ours.build_request_header(7, "c").encode()
    assert header == theirs.build_request_header(7, "c").encode()
    message = header + ours.encode()
    expected = header + theirs.encode()
    assert len(message) == len(expected)
    assert b"size" + message == b"size" + expected
