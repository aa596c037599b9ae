"""Our requests on the wire, beside aiokafka's where it has the same."""

from io import BytesIO
from typing import Any

import pytest
from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.produce import ProduceRequest

from shared.bus.kafka.wire.requests import Heartbeat, Metadata, MetadataAnswer, Produce, Question, metadata


@pytest.mark.parametrize("transactional_id", [None, "trelay.orders-a"])
def test_a_produce_request_is_encoded_as_aiokafka_does(transactional_id: str | None) -> None:
    batches: dict[str, dict[int, bytes | bytearray]] = {
        "orders": {0: b"first", 3: bytearray(b"second")},
        "größe": {1: b""},
    }
    ours = Produce(transactional_id, 2.5, batches)
    listed = [(topic, [(number, bytes(batch)) for number, batch in found.items()]) for topic, found in batches.items()]
    theirs = ProduceRequest(transactional_id, -1, 2500, listed).prepare({0: (3, 7)})
    assert ours.encode() == theirs.encode()
    assert ours.build_request_header(7, "c").encode() == theirs.build_request_header(7, "c").encode()


def test_a_question_keeps_to_what_the_broker_speaks() -> None:
    question = Question(Heartbeat("g", 1, "m", "i"))
    assert question.prepare({12: (0, 4)}).API_VERSION == 3
    for versions in ({}, {12: (0, 2)}, {12: (4, 5)}):
        with pytest.raises(IncompatibleBrokerVersion, match=r"Heartbeat.*Kafka 3\.0"):
            question.prepare(versions)


def test_metadata_makes_no_topics() -> None:
    request = metadata(["orders"]).prepare({3: (0, 13)})
    decoded = Metadata.decode(BytesIO(request.encode()))
    assert decoded.topics == [(bytes(16), "orders", {})]
    assert decoded.allow_auto_topic_creation is False


def test_an_answer_holds_topic_ids() -> None:
    topic_id = bytes(range(16))
    partitions: list[tuple[Any, ...]] = [(0, 0, 1, 5, [1], [1], [], {})]
    answer = MetadataAnswer(
        throttle_time_ms=0,
        brokers=[(1, "localhost", 9092, None, {})],
        cluster_id="c",
        controller_id=1,
        topics=[(0, "orders", topic_id, False, partitions, -1, {})],
        cluster_authorized_operations=-1,
        tags={},
    )
    assert MetadataAnswer.decode(BytesIO(answer.encode())).topics[0][2] == topic_id
