"""JoinGroup, SyncGroup, Heartbeat and LeaveGroup, and what they carry: a member's subscription, its assignment.

Heartbeat and LeaveGroup are version 3, the first that names the static member (KIP-345): an older process of the same
name is fenced, and a member can leave although it is static.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.coordinator.protocol import ConsumerProtocol, ConsumerProtocolMemberAssignment
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from shared.bus.kafka.wire.request import VersionedRequest

_VERSION = 0
_INCOMPLETE = b"incomplete"
"""The user data of an assignment. Members of older releases ignore it."""


class HeartbeatResponse(Response):  # type: ignore[misc]  # aiokafka is published without types
    """Version 3."""

    API_KEY = 12
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class HeartbeatRequest(RequestStruct):  # type: ignore[misc]
    """Version 3."""

    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = HeartbeatResponse
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class LeaveGroupResponse(Response):  # type: ignore[misc]
    """Version 3."""

    API_KEY = 13
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "members",
            Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")), ("error_code", Int16)),
        ),
    )


class LeaveGroupRequest(RequestStruct):  # type: ignore[misc]
    """Version 3."""

    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = LeaveGroupResponse
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("members", Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))),
    )


def join_group(  # fields of the request
    group: str, *, timeout: float, member_id: str, instance_id: str, protocol: str, topic: str, user_data: bytes
) -> Any:
    """Join as a reader of one topic.

    `timeout` in seconds: of the session, and of the other members to join a rebalance. `user_data` is for the leader,
    see `user_data_of`.
    """
    timeout_ms = int(timeout * 1000)
    subscription = ConsumerProtocol.METADATA(_VERSION, [topic], user_data).encode()
    return JoinGroupRequest(
        group,
        timeout_ms,
        timeout_ms,
        member_id,
        instance_id,
        ConsumerProtocol.PROTOCOL_TYPE,
        [(protocol, subscription)],
    )


def user_data_of(subscription: bytes) -> bytes:
    """Return the user data in the subscription of a member."""
    found: bytes = ConsumerProtocol.METADATA.decode(subscription).user_data
    return found


def sync_group(
    group: str, *, generation: int, member_id: str, instance_id: str, assignments: Iterable[tuple[str, bytes]]
) -> Any:
    """Request the assignment of a member; the leader hands in those of all members, by their ids."""
    return SyncGroupRequest(group, generation, member_id, instance_id, list(assignments))


class Assignment(NamedTuple):
    """What the leader assigns to one member."""

    partitions: set[int]
    complete: bool
    """Whether each partition of the topic is assigned to some member; otherwise an owner has to release some first."""


def assignment_to(topic: str, partitions: Iterable[int], *, complete: bool) -> bytes:
    """Return an assignment of some partitions of a topic."""
    user_data = b"" if complete else _INCOMPLETE
    encoded: bytes = ConsumerProtocolMemberAssignment(_VERSION, [(topic, sorted(partitions))], user_data).encode()
    return encoded


def assignment_in(topic: str, assignment: bytes) -> Assignment:
    """Return the assignment of partitions of a topic; none where it is empty."""
    if not assignment:
        return Assignment(set(), complete=True)
    found = ConsumerProtocolMemberAssignment.decode(assignment)
    partitions = {number for name, numbers in found.assignment if name == topic for number in numbers}
    return Assignment(partitions, complete=found.user_data != _INCOMPLETE)


def heartbeat(group: str, *, generation: int, member_id: str, instance_id: str) -> VersionedRequest:
    """Stay a member."""
    return VersionedRequest(HeartbeatRequest(group, generation, member_id, instance_id))


def leave_group(group: str, *, member_id: str, instance_id: str) -> VersionedRequest:
    """Leave, so that the partitions are assigned to others at once."""
    return VersionedRequest(LeaveGroupRequest(group, [(member_id, instance_id)]))
