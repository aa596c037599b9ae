"""Translates the broker's error codes and aiokafka's exceptions into Trelay's errors."""

import asyncio

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InvalidProducerEpoch,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    RecordListTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
    for_code,
)

from shared.errors import Fenced, TooLarge, TrelayError, Unauthorized, Unavailable, system_reason
from shared.runtime.tls_errors import certificate_problem

NONE = 0
OFFSET_OUT_OF_RANGE = 1
UNKNOWN_TOPIC_OR_PARTITION = 3
LEADER_NOT_AVAILABLE = 5
NOT_LEADER_OR_FOLLOWER = 6
REQUEST_TIMED_OUT = 7
BROKER_NOT_AVAILABLE = 8
REPLICA_NOT_AVAILABLE = 9
NETWORK_EXCEPTION = 13
COORDINATOR_LOAD_IN_PROGRESS = 14
COORDINATOR_NOT_AVAILABLE = 15
NOT_COORDINATOR = 16
NOT_ENOUGH_REPLICAS = 19
NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
ILLEGAL_GENERATION = 22
UNKNOWN_MEMBER_ID = 25
REBALANCE_IN_PROGRESS = 27
TOPIC_ALREADY_EXISTS = 36
NOT_CONTROLLER = 41
DUPLICATE_SEQUENCE_NUMBER = 46
CONCURRENT_TRANSACTIONS = 51
OPERATION_NOT_ATTEMPTED = 55
KAFKA_STORAGE_ERROR = 56
LISTENER_NOT_FOUND = 72
FENCED_LEADER_EPOCH = 74
UNKNOWN_LEADER_EPOCH = 75
OFFSET_NOT_AVAILABLE = 78
FENCED_INSTANCE_ID = 82
UNSTABLE_OFFSET_COMMIT = 88
PRODUCER_FENCED = 90

_STALE_METADATA = frozenset(
    {
        UNKNOWN_TOPIC_OR_PARTITION,  # also from a broker that does not know a new topic yet
        LEADER_NOT_AVAILABLE,
        NOT_LEADER_OR_FOLLOWER,
        BROKER_NOT_AVAILABLE,
        REPLICA_NOT_AVAILABLE,
        COORDINATOR_NOT_AVAILABLE,
        NOT_COORDINATOR,
        NOT_CONTROLLER,
        KAFKA_STORAGE_ERROR,  # another replica takes over
        LISTENER_NOT_FOUND,  # the broker is starting
        FENCED_LEADER_EPOCH,  # the broker knows a newer leader than this client
        UNKNOWN_LEADER_EPOCH,  # this client knows a newer leader than the broker
    }
)
_RETRIABLE = frozenset(
    {
        REQUEST_TIMED_OUT,  # between brokers
        NETWORK_EXCEPTION,  # between brokers
        COORDINATOR_LOAD_IN_PROGRESS,
        NOT_ENOUGH_REPLICAS,
        NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        CONCURRENT_TRANSACTIONS,
        OFFSET_NOT_AVAILABLE,  # a new leader does not know its high watermark yet
        UNSTABLE_OFFSET_COMMIT,  # the transaction that holds the offset is ending
    }
)

_NAMES = {
    FENCED_LEADER_EPOCH: "FencedLeaderEpoch",
    UNKNOWN_LEADER_EPOCH: "UnknownLeaderEpoch",
    OFFSET_NOT_AVAILABLE: "OffsetNotAvailable",
    UNSTABLE_OFFSET_COMMIT: "UnstableOffsetCommit",
}
"""The names of codes that aiokafka does not know."""

_UNAUTHORIZED = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)


class Retriable(Unavailable):
    """Unavailable for a moment, often for milliseconds; `Cluster.retry` tries again."""


class StaleMetadata(Retriable):
    """The request went to a broker that is not, or not yet, the leader, coordinator or controller."""


LOST_CONNECTION = (KafkaError, OSError, asyncio.TimeoutError)
"""What sending a request raises if the broker cannot be reached or does not answer."""


def error_for_code(code: int, doing: str) -> TrelayError:
    """Return the error for a code in a broker's response; `doing` begins its text."""
    if code == PRODUCER_FENCED:
        return Fenced(f"{doing}: fenced by a newer writer of this name")
    if code == FENCED_INSTANCE_ID:
        return Fenced(f"{doing}: fenced by a newer member of the same name")
    if code in _STALE_METADATA:
        return StaleMetadata(f"{doing}: {_description(for_code(code)(), code)}")
    if code in _RETRIABLE:
        return Retriable(f"{doing}: {_description(for_code(code)(), code)}")
    return translate(for_code(code)(), doing, code)


def translate(exc: BaseException, doing: str, code: int | None = None) -> TrelayError:
    """Return the error for an exception of `LOST_CONNECTION`; `doing` begins its text."""
    if isinstance(exc, ProducerFenced | InvalidProducerEpoch):
        return Fenced(f"{doing}: fenced by a newer writer of this name, or the transaction timed out")
    if isinstance(exc, MessageSizeTooLargeError | RecordListTooLargeError):
        return TooLarge(f"{doing}: the record is above max.message.bytes of the brokers")
    if isinstance(exc, _UNAUTHORIZED):
        return Unauthorized(f"{doing}: refused by Kafka: {_description(exc, code)}")
    return Unavailable(f"{doing}: {_description(exc, code)}")


def _description(exc: BaseException, code: int | None) -> str:
    name = type(exc).__name__.removesuffix("Error")
    if isinstance(exc, asyncio.TimeoutError):
        return "no answer in time"
    if (reason := system_reason(exc)) is not None:
        return reason
    if code is not None:
        return f"Kafka returned {_NAMES.get(code, name)} ({code})"
    # The text of Kafka's errors begins with the name of their class.
    text = str(exc).removeprefix(f"{type(exc).__name__}: ")
    return certificate_problem(exc, prefix="") or text or name
