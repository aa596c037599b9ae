"""The message brokers as fixtures, each shared by all tests: names of queues and topics come from `unique_name`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.servers.certificates import Certificates
from tests.servers.kafka import secured_kafka_server
from tests.servers.missing import skipping_without
from tests.servers.mosquitto import mosquitto_server
from tests.servers.nats import nats_server
from tests.servers.rabbitmq import rabbitmq_server
from tests.servers.redis import redis_server
from tests.servers.sqs import sqs_server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of the brokers and of their clients."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


def shared(name: str, server: Callable[[Certificates], AbstractContextManager[Any]]) -> Any:
    """Return a fixture of a server that runs until the tests end; those that need it skip where it is missing."""

    @pytest.fixture(scope="session")
    def fixture(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Any]:
        with skipping_without(name, request.config), server(certificates) as running:
            yield running

    return fixture


rabbitmq = shared("RabbitMQ", rabbitmq_server)
_ALL_MESSAGES = "max_queued_messages 0\n"
"""Mosquitto drops what a session has waiting above 1000 messages otherwise."""

redis = shared("Redis", lambda certificates: redis_server(certificates=certificates))
mosquitto = shared("Mosquitto", lambda certificates: mosquitto_server(_ALL_MESSAGES, certificates))
nats = shared("NATS", lambda _: nats_server())
sqs = shared("SQS", lambda _: sqs_server())
secured_kafka = shared("Kafka", secured_kafka_server)
