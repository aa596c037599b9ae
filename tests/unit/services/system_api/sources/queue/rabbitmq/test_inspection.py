"""What the refusals of RabbitMQ tell about a queue, and which queues are refused."""

from typing import Any

import pytest

from services.system_api.sources.queue.rabbitmq.inspection import Declaration, corrected, refuse_risks, risks
from services.system_api.sources.queue.rabbitmq.options import RabbitmqSourceOptions, Risk
from shared.errors import SettingsError, Unavailable

URL = "amqp://127.0.0.1"
REFUSAL = "PRECONDITION_FAILED - inequivalent arg '{}' for queue 'q' in vhost '/': received {} but current is {}"


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (REFUSAL.format("durable", "'true'", "'false'"), Declaration(durable=False)),
        (REFUSAL.format("auto_delete", "'false'", "'true'"), Declaration(auto_delete=True)),
        (
            REFUSAL.format("x-queue-type", "none", "the value 'quorum' of type 'longstr'"),
            Declaration(arguments={"x-queue-type": "quorum"}),
        ),
        (
            REFUSAL.format("x-message-ttl", "none", "the value '60000' of type 'unsignedshort'"),
            Declaration(arguments={"x-message-ttl": 60000}),
        ),
        (REFUSAL.format("x-message-ttl", "'1'", "'-1'"), Declaration(arguments={"x-message-ttl": -1})),
    ],
)
def test_a_refusal_tells_one_argument(refusal: str, expected: Declaration) -> None:
    assert corrected(Declaration(), refusal) == expected


def test_other_refusals_tell_nothing() -> None:
    with pytest.raises(Unavailable, match="cannot find out"):
        corrected(Declaration(), "PRECONDITION_FAILED - timeout")


def options(**given: Any) -> RabbitmqSourceOptions:
    return RabbitmqSourceOptions.model_validate({"kind": "rabbitmq", "url": URL, "queue": "q", "type": "t", **given})


@pytest.mark.parametrize(
    ("declared", "risk"),
    [
        (Declaration(durable=False), Risk.NOT_DURABLE),
        (Declaration(auto_delete=True), Risk.AUTO_DELETE),
        (Declaration(arguments={"x-expires": 1}), Risk.EXPIRES),
        (Declaration(arguments={"x-message-ttl": 1}), Risk.MESSAGE_TTL),
        (Declaration(arguments={"x-max-length-bytes": 1}), Risk.MAX_LENGTH),
        (Declaration(arguments={"x-max-length": 1, "x-overflow": "drop-head"}), Risk.MAX_LENGTH),
        (Declaration(arguments={"x-delivery-limit": 5}), Risk.DELIVERY_LIMIT),
    ],
)
def test_a_queue_that_loses_messages_is_refused_unless_that_is_accepted(declared: Declaration, risk: Risk) -> None:
    assert list(risks(declared, 5)) == [risk]
    with pytest.raises(SettingsError, match=rf"accept: \[{risk}\]"):
        refuse_risks(declared, options())
    refuse_risks(declared, options(accept=[risk]))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"x-message-ttl": 1, "x-dead-letter-exchange": "dead"},
        {"x-max-length": 1, "x-overflow": "reject-publish"},
        {"x-max-length": 1, "x-dead-letter-exchange": "dead"},
        {"x-delivery-limit": 6},
        {"x-delivery-limit": -1},
        {"x-delivery-limit": 1, "x-dead-letter-exchange": "dead"},
    ],
)
def test_a_queue_that_loses_nothing(arguments: dict[str, str | int]) -> None:
    assert risks(Declaration(arguments=arguments), 5) == {}


@pytest.mark.parametrize(
    ("version", "most", "refused"), [(3, 20, False), (4, 19, False), (4, 20, True), (5, 1000, True)]
)
def test_newer_brokers_limit_deliveries_where_the_queue_does_not(version: int, most: int, refused: bool) -> None:
    queue = Declaration(arguments={"x-queue-type": "quorum"}, major_version=version)
    assert list(risks(queue, most)) == [Risk.DELIVERY_LIMIT] * refused
    if refused:
        said = rf"x-delivery-limit: 20, the default of this broker, not above max_deliveries \({most}\)"
        with pytest.raises(SettingsError, match=said):
            refuse_risks(queue, options(max_deliveries=most))
    assert risks(queue._replace(arguments={"x-queue-type": "quorum", "x-dead-letter-exchange": "d"}), most) == {}
    assert risks(queue._replace(arguments={"x-queue-type": "quorum", "x-delivery-limit": -1}), most) == {}


def test_a_stream_is_no_queue_and_a_queue_no_stream() -> None:
    stream = Declaration(arguments={"x-queue-type": "stream"})
    with pytest.raises(SettingsError, match="set `stream`"):
        refuse_risks(stream, options())
    with pytest.raises(SettingsError, match="set `queue`"):
        refuse_risks(Declaration(), options(queue=None, stream="q"))
    refuse_risks(stream, options(queue=None, stream="q"))


def test_a_single_active_consumer_is_seen() -> None:
    assert Declaration(arguments={"x-single-active-consumer": "true"}).single_active_consumer
    assert not Declaration().single_active_consumer
