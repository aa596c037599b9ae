"""The message brokers as fixtures, each shared by all tests: names of queues and topics come from `unique_name`."""

from collections.abc import Iterator

import pytest

from tests.servers.missing import skipping_without
from tests.servers.mosquitto import MosquittoServer, mosquitto_server
from tests.servers.nats import NatsServer, nats_server
from tests.servers.rabbitmq import RabbitmqServer, rabbitmq_server
from tests.servers.redis import RedisServer, redis_server
from tests.servers.sqs import SqsServer, sqs_server


@pytest.fixture(scope="session")
def rabbitmq(request: pytest.FixtureRequest) -> Iterator[RabbitmqServer]:
    """A RabbitMQ that all tests share."""
    with skipping_without("RabbitMQ", request.config), rabbitmq_server() as server:
        yield server


@pytest.fixture(scope="session")
def nats(request: pytest.FixtureRequest) -> Iterator[NatsServer]:
    """A NATS server with JetStream that all tests share."""
    with skipping_without("NATS", request.config), nats_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A Redis that all tests share."""
    with skipping_without("Redis", request.config), redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def mosquitto(request: pytest.FixtureRequest) -> Iterator[MosquittoServer]:
    """A Mosquitto that all tests share."""
    with skipping_without("Mosquitto", request.config), mosquitto_server() as server:
        yield server


@pytest.fixture(scope="session")
def sqs(request: pytest.FixtureRequest) -> Iterator[SqsServer]:
    """An SQS that all tests share."""
    with skipping_without("SQS", request.config), sqs_server() as server:
        yield server
