"""Requests that aiokafka does not know, or encodes at a cost: their form on the wire.

See https://kafka.apache.org/protocol and the schemas in Kafka's `clients/src/main/resources/common/message`.
"""

import struct
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any, ClassVar

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.produce import ProduceResponse_v7
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    String,
    TaggedFields,
)

_ALL_REPLICAS = -1


class Uuid(AbstractType):  # type: ignore[misc]  # aiokafka is published without types
    """Sixteen bytes as they are."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        """Write it."""
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        """Read it."""
        return data.read(16)


class Question:
    """A request in one fixed version, as aiokafka's connection takes them."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> Any:
        """Return the form to send, once it is known that the broker speaks it."""
        least, most = versions.get(self._body.API_KEY, (0, -1))
        if not least <= self._body.API_VERSION <= most:
            raise IncompatibleBrokerVersion(
                f"{type(self._body).__name__} needs version {self._body.API_VERSION} of a request that this broker "
                f"speaks in {least} to {most}: Kafka 3.0 or newer is needed"
            )
        return self._body


class MetadataAnswer(Response):  # type: ignore[misc]
    """Version 10: the first with topic ids (KIP-516)."""

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


class Metadata(RequestStruct):  # type: ignore[misc]
    """What brokers there are, and who leads the partitions of some topics."""

    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataAnswer
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


def metadata(topics: Iterable[str]) -> Question:
    """Ask for brokers and topics; a topic that is missing is not made."""
    wanted: list[tuple[bytes, str, dict[int, bytes]]] = [(bytes(16), topic, {}) for topic in topics]
    return Question(
        Metadata(
            topics=wanted,
            allow_auto_topic_creation=False,
            include_cluster_authorized_operations=False,
            include_topic_authorized_operations=False,
            tags={},
        )
    )


class HeartbeatAnswer(Response):  # type: ignore[misc]
    """Version 3."""

    API_KEY = 12
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class Heartbeat(RequestStruct):  # type: ignore[misc]
    """Version 3: the first that names the static member (KIP-345), so that a newer one of the name is noticed."""

    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = HeartbeatAnswer
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class LeaveGroupAnswer(Response):  # type: ignore[misc]
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


class LeaveGroup(RequestStruct):  # type: ignore[misc]
    """Version 3: the first by which a static member can leave (KIP-345)."""

    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = LeaveGroupAnswer
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("members", Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))),
    )


class Produce(RequestStruct):  # type: ignore[misc]
    """Version 7, encoded with one copy of the batches where aiokafka's own makes six."""

    API_KEY = 0
    API_VERSION = 7
    RESPONSE_TYPE = ProduceResponse_v7
    SCHEMA: ClassVar[Schema] = Schema()

    def __init__(
        self, transactional_id: str | None, timeout: float, batches: Mapping[str, Mapping[int, bytes | bytearray]]
    ) -> None:
        """`batches` are by topic and partition, one each."""
        super().__init__()
        self._head = String("utf-8").encode(transactional_id) + struct.pack(
            ">hii", _ALL_REPLICAS, int(timeout * 1000), len(batches)
        )
        self._batches = batches

    def encode(self) -> bytes:
        """Return the body of the request."""
        parts: list[bytes | bytearray] = [self._head]
        for topic, partitions in self._batches.items():
            parts.append(String("utf-8").encode(topic) + struct.pack(">i", len(partitions)))
            for partition, batch in partitions.items():
                parts += (struct.pack(">ii", partition, len(batch)), batch)
        return b"".join(parts)
