"""Produce, version 7, sent with one copy of the batches where aiokafka's own encoding and connection make eight."""

import struct
from collections.abc import Mapping
from typing import ClassVar

from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.produce import ProduceResponse_v7
from aiokafka.protocol.types import Schema, String

from shared.bus.kafka.wire.request import VersionedRequest

_ALL_REPLICAS = -1

Batches = Mapping[str, Mapping[int, tuple[bytes, bytes]]]
"""Encoded batches by topic and partition, one each: the head and the records."""


class Unjoined:
    """Bytes in parts, which are joined once something was put before them twice.

    Aiokafka's connection puts the header of the request before its body, then the size before both, and sends that.
    """

    def __init__(self, parts: list[bytes], pending: int = 2) -> None:
        """`pending` is how often something will be put before them."""
        self._parts = parts
        self._pending = pending

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __radd__(self, before: bytes) -> "Unjoined | bytes":
        parts = [before, *self._parts]
        return b"".join(parts) if self._pending == 1 else Unjoined(parts, self._pending - 1)


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

    def encode(self) -> Unjoined:
        """Return the body of the request."""
        parts = [self._head]
        for topic, partitions in self._batches.items():
            parts.append(String("utf-8").encode(topic) + struct.pack(">i", len(partitions)))
            for partition, (head, records) in partitions.items():
                parts += (struct.pack(">ii", partition, len(head) + len(records)), head, records)
        return Unjoined(parts)


def produce(transactional_id: str | None, timeout: float, batches: Batches) -> VersionedRequest:
    """Write batches on all replicas in sync, which have `timeout` seconds for it."""
    return VersionedRequest(ProduceRequest(transactional_id, timeout, batches))
