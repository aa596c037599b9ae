"""Fetch, version 12: the first that carries the epochs of both KIP-320 and KIP-595.

With `current_leader_epoch`, a broker that does not know the newest leader returns an error. With `last_fetched_epoch`,
the leader compares its log with what was read before, so that a log truncated below the position is detected.
"""

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

from shared.bus.kafka.wire.request import VersionedRequest

_CONSUMER = -1
_NO_SESSION = 0
_NO_SESSION_EPOCH = -1
_MIN_BYTES = 1
_NO_RACK = ""
_COMMITTED_ONLY = 1
_LOG_START_UNKNOWN = -1
_DIVERGING_EPOCH = 0
"""The tag of the field of a partition that says where its log diverges from what was read."""

UNKNOWN_EPOCH = -1


class FetchResponse(Response):  # type: ignore[misc]  # aiokafka is published without types
    """Version 12."""

    API_KEY = 1
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("session_id", Int32),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("high_watermark", Int64),
                        ("last_stable_offset", Int64),
                        ("log_start_offset", Int64),
                        (
                            "aborted_transactions",
                            CompactArray(("producer_id", Int64), ("first_offset", Int64), ("tags", TaggedFields)),
                        ),
                        ("preferred_read_replica", Int32),
                        ("records", CompactBytes),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class FetchRequest(RequestStruct):  # type: ignore[misc]
    """Version 12."""

    API_KEY = 1
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = FetchResponse
    SCHEMA = Schema(
        ("replica_id", Int32),
        ("max_wait_ms", Int32),
        ("min_bytes", Int32),
        ("max_bytes", Int32),
        ("isolation_level", Int8),
        ("session_id", Int32),
        ("session_epoch", Int32),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("current_leader_epoch", Int32),
                        ("fetch_offset", Int64),
                        ("last_fetched_epoch", Int32),
                        ("log_start_offset", Int64),
                        ("partition_max_bytes", Int32),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        (
            "forgotten_topics",
            CompactArray(
                ("topic", CompactString("utf-8")), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)
            ),
        ),
        ("rack_id", CompactString("utf-8")),
        ("tags", TaggedFields),
    )


class FetchPosition(NamedTuple):
    """Where to read on in one partition."""

    offset: int
    leader_epoch: int = UNKNOWN_EPOCH
    """The epoch of the leader that the request goes to, where it is known."""
    fetched_epoch: int = UNKNOWN_EPOCH
    """The epoch of the batch that was read last."""


def fetch(
    topic: str, positions: Iterable[tuple[int, FetchPosition]], *, wait: float, max_bytes: int, partition_max_bytes: int
) -> VersionedRequest:
    """Request committed records of some partitions from their leader.

    It answers as soon as it has any, or after `wait` seconds.
    """
    partitions: list[tuple[Any, ...]] = [
        (partition, leader_epoch, offset, fetched_epoch, _LOG_START_UNKNOWN, partition_max_bytes, {})
        for partition, (offset, leader_epoch, fetched_epoch) in positions
    ]
    return VersionedRequest(
        FetchRequest(
            _CONSUMER,
            int(wait * 1000),
            _MIN_BYTES,
            max_bytes,
            _COMMITTED_ONLY,
            _NO_SESSION,
            _NO_SESSION_EPOCH,
            [(topic, partitions, {})],
            [],
            _NO_RACK,
            {},
        )
    )


def diverging_offset(tags: dict[int, bytes]) -> int | None:
    """Return the offset at which the leader's log diverges from what was read before; None where it does not."""
    field = tags.get(_DIVERGING_EPOCH)
    if field is None:
        return None
    _, offset = struct.unpack_from(">iq", field)
    return int(offset)
