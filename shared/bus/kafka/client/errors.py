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
MEMBER_ID_REQUIRED = 79
FENCED_INSTANCE = 82
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
        74,  # fenced leader epoch
        75,  # unknown leader epoch
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
    }
)

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
        return f"Kafka answers {name} ({code})"
    return str(exc) or name
