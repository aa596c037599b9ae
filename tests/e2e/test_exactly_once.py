"""10,000 rows and 10,000 lines reach a subscriber once and in order, while everything is killed again and again."""

from pathlib import Path

import pytest

from tests.e2e.deployments import one_process, three_processes
from tests.e2e.run import Run
from tests.servers.databases import Databases
from tests.servers.kafka import Kafka

EVENTS = 10_000
AT_RANDOM = 6
OF_ONE_PROCESS = 3
"""Fewer: each of them ends all three services."""


@pytest.mark.timeout(900)
async def test_three_processes_on_kafka_and_postgresql(
    tmp_path: Path, databases: Databases, kafka: Kafka, unique_name: str, seed: int
) -> None:
    async with databases.fresh() as dsn:
        feed = tmp_path / "feed.ndjson"
        deployment = three_processes(tmp_path, feed, dsn, kafka.bootstrap, unique_name)
        assert await Run(deployment, dsn, feed, tmp_path, seed, EVENTS, AT_RANDOM).play() == []


@pytest.mark.timeout(900)
async def test_one_process_on_postgresql_alone(tmp_path: Path, databases: Databases, seed: int) -> None:
    async with databases.fresh() as dsn:
        feed = tmp_path / "feed.ndjson"
        deployment = one_process(tmp_path, feed, dsn)
        assert await Run(deployment, dsn, feed, tmp_path, seed, EVENTS, OF_ONE_PROCESS).play() == []
