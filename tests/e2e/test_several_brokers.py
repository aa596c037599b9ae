"""Two replicas of each service on three brokers, while brokers, services and PostgreSQL are killed and paused.

Every event reaches two subscribers once and in order, although these change replicas all the time.
"""

import os
from pathlib import Path

import pytest

from services.standalone.embedded.postgres import PostgresServer
from tests.e2e.several_brokers.run import SeveralBrokersRun
from tests.servers.cluster import Cluster

SHORT = 40.0
LONG = 1200.0


@pytest.mark.timeout(600)
async def test_less_than_a_minute_of_kills_and_pauses(
    tmp_path: Path, own_kafka_cluster: Cluster, own_postgres: PostgresServer, unique_name: str, seed: int
) -> None:
    run = SeveralBrokersRun(own_kafka_cluster, own_postgres, tmp_path, unique_name, seed, SHORT, rolling=False)
    assert await run.play() == []


@pytest.mark.chaos
@pytest.mark.timeout(900)
async def test_watermarks_are_true_and_fresh_again_after_kills_and_a_rolling_restart(
    tmp_path: Path, own_kafka_cluster: Cluster, own_postgres: PostgresServer, unique_name: str, seed: int
) -> None:
    run = SeveralBrokersRun(
        own_kafka_cluster, own_postgres, tmp_path, unique_name, seed, 3 * SHORT, rolling=True, watermarks=True
    )
    assert await run.play() == []


@pytest.mark.chaos
@pytest.mark.timeout(7200)
async def test_twenty_minutes_of_kills_and_pauses_and_a_rolling_restart(
    tmp_path: Path, own_kafka_cluster: Cluster, own_postgres: PostgresServer, unique_name: str, seed: int
) -> None:
    """TRELAY_TEST_CHAOS_SECONDS makes it another number of seconds."""
    seconds = float(os.environ.get("TRELAY_TEST_CHAOS_SECONDS") or LONG)
    run = SeveralBrokersRun(own_kafka_cluster, own_postgres, tmp_path, unique_name, seed, seconds, rolling=True)
    assert await run.play() == []
