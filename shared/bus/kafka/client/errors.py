"""Kafka's errors in our words: the one place that knows aiokafka's exceptions and the broker's codes."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

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

from shared.errors import Fenced, TooLarge, TrelayError, Unauthorized, Unavailable

NONE = 0
OUT_OF_RANGE = 1
UNKNOWN_TOPIC = 3
LOADING = 14
NO_COORDINATOR = 15
NOT_COORDINATOR = 16
NOT_ENOUGH_REPLICAS = 19
ILLEGAL_GENERATION = 22
UNKNOWN_MEMBER = 25
REBALANCING = 27
TOPIC_EXISTS = 36
DUPLICATE_SEQUENCE = 46
CONCURRENT_TRANSACTIONS = 51
NOT_ATTEMPTED = 55
FENCED_LEADER_EPOCH = 74
UNKNOWN_LEADER_EPOCH = 75
OFFSET_NOT_AVAILABLE = 78
MEMBER_ID_REQUIRED = 79
FENCED_INSTANCE = 82
UNSTABLE_OFFSET_COMMIT = 88
PRODUCER_FENCED = 90

_MOVED = frozenset(
    {
        UNKNOWN_TOPIC,  # on a broker that has not heard yet of a topic that was just made
        5,  # leader not available
        6,  # not the leader any more
        8,  # broker not available
        9,  # replica not available
        NO_COORDINATOR,
        NOT_COORDINATOR,
        41,  # not the controller any more
        56,  # storage error: another replica takes over
        72,  # listener not found: the broker is starting
        FENCED_LEADER_EPOCH,  # there is a newer leader than the one that we know
        UNKNOWN_LEADER_EPOCH,  # we know of a newer leader than the broker does
    }
)
_PASSING = frozenset(
    {
        7,  # timed out between brokers
        13,  # network exception between brokers
        LOADING,
        NOT_ENOUGH_REPLICAS,
        20,  # not enough replicas, after the append
        CONCURRENT_TRANSACTIONS,
        OFFSET_NOT_AVAILABLE,  # a leader that was just elected does not know yet how far its log is committed
        UNSTABLE_OFFSET_COMMIT,  # the transaction that holds the offset is being ended
    }
)

_NAMES = {
    FENCED_LEADER_EPOCH: "FencedLeaderEpoch",
    UNKNOWN_LEADER_EPOCH: "UnknownLeaderEpoch",
    OFFSET_NOT_AVAILABLE: "OffsetNotAvailable",
    UNSTABLE_OFFSET_COMMIT: "UnstableOffsetCommit",
}
"""Of codes that aiokafka does not know."""

_UNAUTHORIZED = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)


class Passing(Unavailable):
    """Unavailable in a way that passes by itself, often within milliseconds: see `Cluster.persist`."""


class Moved(Passing):
    """Whom we asked is not, or not yet, the one to ask."""


LOST_CONNECTION = (KafkaError, OSError, asyncio.TimeoutError)
"""What sending a request raises when the broker cannot be reached or does not answer."""


def of_code(code: int, doing: str) -> TrelayError:
    """Return our error for the code in a broker's answer."""
    if code == PRODUCER_FENCED:
        return Fenced(f"{doing}: a newer writer has taken over")
    if code == FENCED_INSTANCE:
        return Fenced(f"{doing}: a newer member of the same name has taken over")
    if code in _MOVED:
        return Moved(f"{doing}: {_sentence(for_code(code)(), code)}")
    if code in _PASSING:
        return Passing(f"{doing}: {_sentence(for_code(code)(), code)}")
    return of_exception(for_code(code)(), doing, code)


def of_exception(exc: BaseException, doing: str, code: int | None = None) -> TrelayError:
    """Return our error for what aiokafka raised; its text says what we were doing."""
    if isinstance(exc, ProducerFenced | InvalidProducerEpoch):
        return Fenced(f"{doing}: a newer writer has taken over, or the transaction lay open for too long")
    if isinstance(exc, MessageSizeTooLargeError | RecordListTooLargeError):
        return TooLarge(f"{doing}: the brokers' own limit (max.message.bytes) refuses the record")
    if isinstance(exc, _UNAUTHORIZED):
        return Unauthorized(f"{doing}: Kafka refuses: {_sentence(exc, code)}")
    return Unavailable(f"{doing}: {_sentence(exc, code)}")


@contextmanager
def kafka_errors(doing: str) -> Iterator[None]:
    """Let no aiokafka exception past this block."""
    try:
        yield
    except LOST_CONNECTION as exc:
        raise of_exception(exc, doing) from exc


def _sentence(exc: BaseException, code: int | None) -> str:
    name = type(exc).__name__.removesuffix("Error")
    if isinstance(exc, asyncio.TimeoutError):
        return "no answer in time"
    if isinstance(exc, ConnectionRefusedError):
        return "connection refused"
    if code is not None:
        return f"Kafka answers {_NAMES.get(code, name)} ({code})"
    return str(exc) or name
