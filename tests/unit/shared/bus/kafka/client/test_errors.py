"""Kafka's codes and aiokafka's exceptions, translated by what the caller should do."""

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError, ProducerFenced

from shared.bus.kafka.client.errors import LOST_CONNECTION, Retriable, StaleMetadata, error_for_code, translate
from shared.errors import Fenced, TooLarge, TrelayError, Unauthorized, Unavailable


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (6, StaleMetadata),
        (16, StaleMetadata),
        (3, StaleMetadata),
        (51, Retriable),
        (19, Retriable),
        (47, Fenced),
        (82, Fenced),
        (90, Fenced),
        (10, TooLarge),
        (18, TooLarge),
        (29, Unauthorized),
        (30, Unauthorized),
        (53, Unauthorized),
        (58, Unauthorized),
        (48, Unavailable),
        (-1, Unavailable),
        (12345, Unavailable),
    ],
)
def test_an_error_code_is_translated(code: int, kind: type[TrelayError]) -> None:
    error = error_for_code(code, "writing to orders/3")
    assert type(error) is kind
    assert str(error).startswith("writing to orders/3: ")


@pytest.mark.parametrize(
    ("raised", "kind", "text"),
    [
        (ProducerFenced(), Fenced, "a newer writer"),
        (MessageSizeTooLargeError(), TooLarge, "max.message.bytes"),
        (KafkaConnectionError("Connection at a:1 closed"), Unavailable, "Connection at a:1 closed"),
        (KafkaError(), Unavailable, "Kafka"),
        (ConnectionRefusedError("refused"), Unavailable, "refused"),
        (TimeoutError(), Unavailable, "no answer in time"),
    ],
)
def test_an_exception_is_translated(raised: Exception, kind: type[TrelayError], text: str) -> None:
    assert isinstance(raised, LOST_CONNECTION)
    error = translate(raised, "write to orders/3")
    assert type(error) is kind
    assert str(error).startswith("write to orders/3: ")
    assert text in str(error)


def test_an_error_of_the_library_has_no_name_of_a_class() -> None:
    assert str(translate(KafkaConnectionError("Connection at a:1 closed"), "reading")) == (
        "reading: Connection at a:1 closed"
    )


def test_a_bug_is_not_translated() -> None:
    assert not isinstance(ZeroDivisionError(), LOST_CONNECTION)


def test_a_refused_connection_is_described_in_words() -> None:
    refused = ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9092)")
    assert str(translate(refused, "Kafka at kafka:9092")) == "Kafka at kafka:9092: connection refused"
