"""Metadata requests and responses on the wire."""

from io import BytesIO
from typing import Any

from shared.bus.kafka.wire.metadata import MetadataRequest, MetadataResponse, metadata


def test_a_request_creates_no_topics() -> None:
    request = metadata(["orders"]).prepare({3: (0, 13)})
    decoded = MetadataRequest.decode(BytesIO(request.encode()))
    assert decoded.topics == [(bytes(16), "orders", {})]
    assert decoded.allow_auto_topic_creation is False


def test_a_response_holds_topic_ids() -> None:
    topic_id = bytes(range(16))
    partitions: list[tuple[Any, ...]] = [(0, 0, 1, 5, [1], [1], [], {})]
    response = MetadataResponse(
        throttle_time_ms=0,
        brokers=[(1, "localhost", 9092, None, {})],
        cluster_id="c",
        controller_id=1,
        topics=[(0, "orders", topic_id, False, partitions, -1, {})],
        cluster_authorized_operations=-1,
        tags={},
    )
    assert MetadataResponse.decode(BytesIO(response.encode())).topics[0][2] == topic_id
