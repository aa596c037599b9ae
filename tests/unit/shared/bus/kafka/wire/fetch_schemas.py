"""The schemas of Fetch, version 12, for aiokafka to encode and decode: beside them the relay's own code is tested."""

from collections.abc import Callable

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
    UnsignedVarInt32,
)


class Tags(TaggedFields):  # type: ignore[misc]
    """Aiokafka's encoder leaves the size of each field out, and takes no tag 0."""

    @classmethod
    def encode(cls, value: dict[int, bytes]) -> bytes:
        number: Callable[[int], bytes] = UnsignedVarInt32.encode
        fields = (number(tag) + number(len(field)) + field for tag, field in sorted(value.items()))
        return number(len(value)) + b"".join(fields)


class SchemaResponse(Response):  # type: ignore[misc]  # aiokafka is published without types
    """Version 12, as aiokafka encodes and decodes it."""

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
                            CompactArray(("producer_id", Int64), ("first_offset", Int64), ("tags", Tags)),
                        ),
                        ("preferred_read_replica", Int32),
                        ("records", CompactBytes),
                        ("tags", Tags),
                    ),
                ),
                ("tags", Tags),
            ),
        ),
        ("tags", Tags),
    )


class SchemaRequest(RequestStruct):  # type: ignore[misc]
    """Version 12, as aiokafka encodes and decodes it."""

    API_KEY = 1
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = SchemaResponse
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
                        ("tags", Tags),
                    ),
                ),
                ("tags", Tags),
            ),
        ),
        (
            "forgotten_topics",
            CompactArray(("topic", CompactString("utf-8")), ("partitions", CompactArray(Int32)), ("tags", Tags)),
        ),
        ("rack_id", CompactString("utf-8")),
        ("tags", Tags),
    )
