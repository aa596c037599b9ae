"""Kafka's codes and aiokafka's exceptions, cut by what the caller should do."""

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError, ProducerFenced

from shared.bus.kafka.client.errors import Moved, Passing, kafka_errors, of_code, of_exception
from shared.errors import Fenced, TooLarge, TrelayError, Unauthorized, Unavailable


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (6, Moved),
        (16, Moved),
        (3, Moved),
        (51, Passing),
        (19, Passing),
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
def test_a_code_becomes_our_error(code: int, kind: type[TrelayError]) -> None:
    error = of_code(code, "writing to orders/3")
    assert type(error) is kind
    assert str(error).startswith("writing to orders/3: ")


@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        (ProducerFenced(), Fenced, "a newer writer"),
        (MessageSizeTooLargeError(), TooLarge, "max.message.bytes"),
        (KafkaConnectionError("Connection at a:1 closed"), Unavailable, "Connection at a:1 closed"),
        (KafkaError(), Unavailable, "Kafka"),
        (ConnectionRefusedError("refused"), Unavailable, "refused"),
        (TimeoutError(), Unavailable, "no answer in time"),
    ],
)
def test_an_exception_becomes_our_error(raised: Exception, kind: type[TrelayError], said: str) -> None:
    with pytest.raises(kind, match=said) as caught, kafka_errors("doing it"):
        raise raised
    assert type(caught.value) is kind
    assert caught.value.__cause__ is raised


def test_a_bug_is_not_dressed_up() -> None:
    with pytest.raises(ZeroDivisionError), kafka_errors("doing it"):
        _ = 1 / 0


def test_that_nobody_listens_is_said_in_words() -> None:
    refused = ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9092)")
    assert str(of_exception(refused, "Kafka at kafka:9092")) == "Kafka at kafka:9092: connection refused"
