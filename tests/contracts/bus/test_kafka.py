"""The bus on Kafka keeps the promises of every bus."""

import asyncio
from collections.abc import Iterator

import pytest

from services.standalone.embedded.kafka import KafkaServer
from tests.contracts.bus.kafka import KafkaDeployment, OwnKafkaDeployment
from tests.contracts.bus.suite import BusContract, ServedBusContract
from tests.servers.kafka import Kafka, kafka_server
from tests.servers.missing import skipping_without


class TestKafkaBus(BusContract):
    @pytest.fixture
    async def deployment(self, kafka: Kafka) -> KafkaDeployment:
        return KafkaDeployment(kafka)


@pytest.fixture(scope="class")
def stopped_and_started(request: pytest.FixtureRequest) -> Iterator[KafkaServer]:
    """A broker for one class, whose tests leave it running or not."""
    with skipping_without("Kafka", request.config), kafka_server() as server:
        yield server


class TestOwnKafkaBus(ServedBusContract):
    @pytest.fixture
    async def deployment(self, stopped_and_started: KafkaServer) -> OwnKafkaDeployment:
        if not stopped_and_started.running:
            await asyncio.to_thread(stopped_and_started.start)
        return OwnKafkaDeployment(stopped_and_started)
