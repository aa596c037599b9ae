"""What members and the leader of a group tell each other through the broker."""

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocol

from shared.bus.kafka.wire.groups import assignment_in, assignment_to, join_group, leave_group, user_data_of


def test_user_data_round_trips_through_a_subscription() -> None:
    request = join_group(
        "g", timeout=6.0, member_id="", instance_id="node-1", protocol="p", topic="t", user_data=b"data"
    ).prepare({11: (0, 5)})
    [(protocol, subscription)] = request.group_protocols
    assert (protocol, user_data_of(subscription)) == ("p", b"data")
    assert ConsumerProtocol.METADATA.decode(subscription).subscription == ["t"]
    assert (request.session_timeout, request.rebalance_timeout, request.group_instance_id) == (6000, 6000, "node-1")


@pytest.mark.parametrize("complete", [True, False])
def test_an_assignment_round_trips_for_its_topic(complete: bool) -> None:
    assignment = assignment_to("t", {3, 1}, complete=complete)
    assert assignment_in("t", assignment) == ({1, 3}, complete)
    assert assignment_in("other", assignment) == (set(), complete)


def test_an_empty_assignment_has_no_partitions() -> None:
    assert assignment_in("t", b"") == (set(), True)


def test_a_static_member_leaves_by_its_name() -> None:
    request = leave_group("g", member_id="m", instance_id="node-1").prepare({13: (0, 5)})
    assert request.members == [("m", "node-1")]
