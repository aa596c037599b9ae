"""InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit and EndTxn. See KIP-98.

InitProducerId is version 3, the first by which a producer requests its next epoch (KIP-360). The coordinator refuses
such a request if the epoch in it is not the newest, so repeating the request never fences a newer owner of the
transactional id.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    TxnOffsetCommitRequest,
)
from aiokafka.protocol.types import CompactString, Int16, Int32, Int64, Schema, TaggedFields

from shared.bus.kafka.wire.request import VersionedRequest
from shared.bus.protocol import TopicPartition

ProducerIdAndEpoch = tuple[int, int]

NO_PRODUCER: ProducerIdAndEpoch = (-1, -1)

_NO_METADATA = ""


class InitProducerIdResponse(Response):  # type: ignore[misc]  # aiokafka is published without types
    """Version 3."""

    API_KEY = 22
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )


class InitProducerIdRequest(RequestStruct):  # type: ignore[misc]
    """Version 3."""

    API_KEY = 22
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = InitProducerIdResponse
    SCHEMA = Schema(
        ("transactional_id", CompactString("utf-8")),
        ("transaction_timeout_ms", Int32),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )


def init_producer_id(
    transactional_id: str | None, transaction_timeout: float, producer: ProducerIdAndEpoch = NO_PRODUCER
) -> VersionedRequest:
    """Become the owner of a transactional id; or, given the own `producer`, take its next epoch.

    Without a transactional id: become an idempotent producer. `transaction_timeout` in seconds.
    """
    return VersionedRequest(InitProducerIdRequest(transactional_id, int(transaction_timeout * 1000), *producer, {}))


def add_partitions_to_txn(
    transactional_id: str, producer: ProducerIdAndEpoch, partitions: Iterable[tuple[str, int]]
) -> Any:
    """Add partitions, by topic and number, to the transaction."""
    by_topic: dict[str, set[int]] = {}
    for topic, number in partitions:
        by_topic.setdefault(topic, set()).add(number)
    topics = [(topic, sorted(numbers)) for topic, numbers in by_topic.items()]
    return AddPartitionsToTxnRequest(transactional_id, *producer, topics)


def add_offsets_to_txn(transactional_id: str, producer: ProducerIdAndEpoch, group: str) -> Any:
    """Add the offsets of a group to the transaction."""
    return AddOffsetsToTxnRequest(transactional_id, *producer, group)


def txn_offset_commit(
    transactional_id: str, producer: ProducerIdAndEpoch, group: str, offsets: Mapping[TopicPartition, int]
) -> Any:
    """Commit offsets of a group with the transaction."""
    by_topic: dict[str, list[tuple[int, int, str]]] = {}
    for (topic, partition), offset in offsets.items():
        by_topic.setdefault(topic, []).append((partition, offset, _NO_METADATA))
    return TxnOffsetCommitRequest(transactional_id, group, *producer, list(by_topic.items()))


def end_txn(transactional_id: str, producer: ProducerIdAndEpoch, *, commit: bool) -> Any:
    """Commit or abort the transaction."""
    return EndTxnRequest(transactional_id, *producer, commit)
