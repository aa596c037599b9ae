"""Produce, version 7, encoded with one copy of the batches where aiokafka's own encoding makes six."""

import struct
from collections.abc import Mapping
from typing import ClassVar

from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.produce import ProduceResponse_v7
from aiokafka.protocol.types import Schema, String

from shared.bus.kafka.wire.request import VersionedRequest

_ALL_REPLICAS = -1

Batches = Mapping[str, Mapping[int, bytes | bytearray]]
"""Encoded batches by topic and partition, one each."""


class ProduceRequest(RequestStruct):  # type: ignore[misc]  # aiokafka is published without types
    """Version 7."""

    API_KEY = 0
    API_VERSION = 7
    RESPONSE_TYPE = ProduceResponse_v7
    SCHEMA: ClassVar[Schema] = Schema()

    def __init__(self, transactional_id: str | None, timeout: float, batches: Batches) -> None:
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


def produce(transactional_id: str | None, timeout: float, batches: Batches) -> VersionedRequest:
    """Write batches on all replicas in sync, which have `timeout` seconds for it."""
    return VersionedRequest(ProduceRequest(transactional_id, timeout, batches))
