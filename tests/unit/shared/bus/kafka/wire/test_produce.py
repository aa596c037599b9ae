"""Produce requests on the wire, beside aiokafka's."""

import pytest
from aiokafka.protocol.produce import ProduceRequest

from shared.bus.kafka.wire.produce import produce


@pytest.mark.parametrize("transactional_id", [None, "trelay.orders-a"])
def test_a_produce_request_is_encoded_as_aiokafka_does(transactional_id: str | None) -> None:
    batches: dict[str, dict[int, bytes | bytearray]] = {
        "orders": {0: b"first", 3: bytearray(b"second")},
        "größe": {1: b""},
    }
    ours = produce(transactional_id, 2.5, batches).prepare({0: (3, 7)})
    listed = [(topic, [(number, bytes(batch)) for number, batch in found.items()]) for topic, found in batches.items()]
    theirs = ProduceRequest(transactional_id, -1, 2500, listed).prepare({0: (3, 7)})
    assert ours.encode() == theirs.encode()
    assert ours.build_request_header(7, "c").encode() == theirs.build_request_header(7, "c").encode()
