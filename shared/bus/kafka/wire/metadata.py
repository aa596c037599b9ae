"""Metadata, version 10, the first with topic ids (KIP-516); and FindCoordinator."""

from collections.abc import Iterable
from typing import Any, Literal

from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

from shared.bus.kafka.wire.request import Uuid, VersionedRequest

CoordinatorKind = Literal["group", "transaction"]

_COORDINATOR_KEY_TYPES: dict[CoordinatorKind, int] = {"group": 0, "transaction": 1}


class MetadataResponse(Response):  # type: ignore[misc]  # aiokafka is published without types
    """Version 10."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("topic_authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class MetadataRequest(RequestStruct):  # type: ignore[misc]
    """Version 10."""

    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


def metadata(topics: Iterable[str] | None) -> VersionedRequest:
    """Request the brokers of the cluster and the leaders of some topics, None: of all. It creates no topic."""
    wanted: list[tuple[bytes, str, dict[int, bytes]]] | None = (
        None if topics is None else [(bytes(16), topic, {}) for topic in topics]
    )
    return VersionedRequest(
        MetadataRequest(
            topics=wanted,
            allow_auto_topic_creation=False,
            include_cluster_authorized_operations=False,
            include_topic_authorized_operations=False,
            tags={},
        )
    )


def find_coordinator(kind: CoordinatorKind, key: str) -> Any:
    """Request the coordinator of a group or of a transactional id."""
    return FindCoordinatorRequest(key, _COORDINATOR_KEY_TYPES[kind])
