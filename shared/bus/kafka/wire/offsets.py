"""ListOffsets, version 5, and OffsetFetch, version 7: a stale leader or coordinator answers them with an error."""

from collections.abc import Iterable, Mapping

from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.commit import OffsetCommitRequest_v3
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

from shared.bus.kafka.wire.request import VersionedRequest

_CONSUMER = -1
_NO_GENERATION = -1
_NO_MEMBER = ""
_RETENTION_OF_BROKER = -1
_NO_METADATA = ""


class ListOffsetsResponse(Response):  # type: ignore[misc]  # aiokafka is published without types
    """Version 5."""

    API_KEY = 2
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("timestamp", Int64),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                    ),
                ),
            ),
        ),
    )


class ListOffsetsRequest(RequestStruct):  # type: ignore[misc]
    """Version 5: carries the leader's epoch (KIP-320); a new leader that is not ready returns OFFSET_NOT_AVAILABLE."""

    API_KEY = 2
    API_VERSION = 5
    RESPONSE_TYPE = ListOffsetsResponse
    SCHEMA = Schema(
        ("replica_id", Int32),
        ("isolation_level", Int8),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(("partition", Int32), ("current_leader_epoch", Int32), ("timestamp", Int64)),
                ),
            ),
        ),
    )


def list_offsets(
    topic: str, partitions: Iterable[tuple[int, int]], timestamp: int, isolation_level: int
) -> VersionedRequest:
    """Request the offsets of `partitions`, each with the epoch of its leader, at a timestamp."""
    wanted = [(partition, leader_epoch, timestamp) for partition, leader_epoch in partitions]
    return VersionedRequest(ListOffsetsRequest(_CONSUMER, isolation_level, [(topic, wanted)]))


class OffsetFetchResponse(Response):  # type: ignore[misc]
    """Version 7."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", CompactString("utf-8")),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class OffsetFetchRequest(RequestStruct):  # type: ignore[misc]
    """Version 7: the first that returns an error while a transaction with offsets is ending (KIP-447)."""

    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = OffsetFetchResponse
    SCHEMA = Schema(
        ("group", CompactString("utf-8")),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)
            ),
        ),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


def offset_fetch(group: str, topic: str, partition: int) -> VersionedRequest:
    """Request the offset that a group committed last in one partition."""
    return VersionedRequest(
        OffsetFetchRequest(group=group, topics=[(topic, [partition], {})], require_stable=True, tags={})
    )


def offset_commit(group: str, offsets: Mapping[str, Mapping[int, int]]) -> VersionedRequest:
    """Request to note `offsets` by topic and partition for a group without members."""
    topics = [
        (topic, [(partition, offset, _NO_METADATA) for partition, offset in partitions.items()])
        for topic, partitions in offsets.items()
    ]
    return VersionedRequest(OffsetCommitRequest_v3(group, _NO_GENERATION, _NO_MEMBER, _RETENTION_OF_BROKER, topics))
