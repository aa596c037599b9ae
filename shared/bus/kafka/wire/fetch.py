"""Fetch, version 12: the first that carries both epochs of KIP-320 and KIP-595.

`current_leader_epoch` makes a broker that does not know the newest leader refuse to answer. `last_fetched_epoch` makes
the leader compare its log with what was read before, so that a log that was truncated below the reader is noticed.
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

_CONSUMER = -1
_NO_SESSION = 0
_WITHOUT_SESSION = -1
_COMMITTED_ONLY = 1
_LOG_START_UNKNOWN = -1
_DIVERGING_EPOCH = 0
"""The tag of the partition's field that says where its log and ours part."""

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


class Fetch(RequestStruct):  # type: ignore[misc]
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


class Wanted(NamedTuple):
    """What is asked of one partition."""

    offset: int
    leader_epoch: int = UNKNOWN_EPOCH
    """The epoch of the leader that is asked, as far as it is known."""
    fetched_epoch: int = UNKNOWN_EPOCH
    """The epoch of the batch that was read last."""


def fetch(
    topic: str, wanted: Iterable[tuple[int, Wanted]], *, wait_ms: int, max_bytes: int, partition_bytes: int
) -> Fetch:
    """Ask one leader for committed records of some partitions, of which it answers with at least one if it has any."""
    partitions: list[tuple[Any, ...]] = [
        (partition, leader_epoch, offset, fetched_epoch, _LOG_START_UNKNOWN, partition_bytes, {})
        for partition, (offset, leader_epoch, fetched_epoch) in wanted
    ]
    return Fetch(
        _CONSUMER,
        wait_ms,
        1,
        max_bytes,
        _COMMITTED_ONLY,
        _NO_SESSION,
        _WITHOUT_SESSION,
        [(topic, partitions, {})],
        [],
        "",
        {},
    )


def diverging_offset(tags: dict[int, bytes]) -> int | None:
    """Return where the leader's log parts from what was read before; None where it does not."""
    field = tags.get(_DIVERGING_EPOCH)
    if field is None:
        return None
    _, offset = struct.unpack_from(">iq", field)
    return int(offset)
