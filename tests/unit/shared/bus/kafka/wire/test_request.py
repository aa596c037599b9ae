"""Requests keep to the versions that a broker supports."""

import pytest
from aiokafka.errors import IncompatibleBrokerVersion

from shared.bus.kafka.wire.groups import HeartbeatRequest
from shared.bus.kafka.wire.request import VersionedRequest


def test_a_request_is_sent_in_its_version_or_refused() -> None:
    request = VersionedRequest(HeartbeatRequest("g", 1, "m", "i"))
    assert request.prepare({12: (0, 4)}).API_VERSION == 3
    for versions in ({}, {12: (0, 2)}, {12: (4, 5)}):
        with pytest.raises(IncompatibleBrokerVersion, match=r"Heartbeat.*Kafka 3\.0"):
            request.prepare(versions)
