"""InitProducerId, version 3: the first by which a producer asks for its next epoch (KIP-360).

A coordinator that is asked so refuses an epoch that is not the newest, so that asking again never puts out a newer
owner of the transactional id.
"""

from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import CompactString, Int16, Int32, Int64, Schema, TaggedFields

NO_PRODUCER = (-1, -1)


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


class InitProducerId(RequestStruct):  # type: ignore[misc]
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


def init_producer_id(name: str | None, timeout: float, producer: tuple[int, int] = NO_PRODUCER) -> InitProducerId:
    """Become the owner of a transactional id, or, as `producer`, stay its owner with the next epoch.

    Without a name, become a producer outside transactions.

    `timeout` is the longest transaction, in seconds.
    """
    return InitProducerId(name, int(timeout * 1000), *producer, {})
