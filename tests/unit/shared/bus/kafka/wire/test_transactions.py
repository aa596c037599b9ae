"""The requests of a transaction on the wire."""

from io import BytesIO

from shared.bus.kafka.wire.transactions import (
    InitProducerIdRequest,
    add_partitions_to_txn,
    end_txn,
    init_producer_id,
    txn_offset_commit,
)
from shared.bus.protocol import TopicPartition

PRODUCER = (7, 3)


def test_a_producer_names_its_epoch_to_take_the_next_one() -> None:
    request = init_producer_id("w-a", 30.0, PRODUCER).prepare({22: (0, 5)})
    decoded = InitProducerIdRequest.decode(BytesIO(request.encode()))
    assert (decoded.transactional_id, decoded.transaction_timeout_ms) == ("w-a", 30_000)
    assert (decoded.producer_id, decoded.producer_epoch) == PRODUCER


def test_partitions_are_added_once_by_topic() -> None:
    partitions = [("t", 3), ("u", 0), ("t", 1), ("t", 3)]
    request = add_partitions_to_txn("w-a", PRODUCER, partitions).prepare({24: (0, 3)})
    assert request.topics == [("t", [1, 3]), ("u", [0])]


def test_offsets_are_committed_by_topic() -> None:
    offsets = {TopicPartition("t", 3): 8, TopicPartition("t", 1): 5, TopicPartition("u", 0): 2}
    request = txn_offset_commit("w-a", PRODUCER, "g", offsets).prepare({28: (0, 3)})
    assert request.topics == [("t", [(3, 8, ""), (1, 5, "")]), ("u", [(0, 2, "")])]
    assert (request.group_id, request.producer_id, request.producer_epoch) == ("g", *PRODUCER)


def test_a_transaction_ends_as_the_producer_of_its_epoch_says() -> None:
    for commit in (True, False):
        request = end_txn("w-a", PRODUCER, commit=commit).prepare({26: (0, 3)})
        assert (request.producer_id, request.producer_epoch, request.transaction_result) == (*PRODUCER, commit)
