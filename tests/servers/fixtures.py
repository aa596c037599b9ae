"""The servers as fixtures; tests/README.md tells which to take."""

import asyncio
import functools
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from services.standalone.embedded.kafka import KafkaServer
from services.standalone.embedded.postgres import PostgresServer
from tests.servers.cluster import Cluster, kafka_cluster_servers
from tests.servers.databases import Databases
from tests.servers.kafka import SHARED_SETTINGS, GivenKafka, Kafka, find_jars, kafka_server
from tests.servers.missing import skipping_without
from tests.servers.postgres import GivenPostgres, Origin, Postgres, postgres_server
from tests.servers.smtp import MailServer, smtp_server

_ORIGINS: tuple[Origin, ...] = ("wheel", "system")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `every_postgres` on each PostgreSQL, everything else on the wheel's."""
    every = metafunc.definition.get_closest_marker("every_postgres") is not None
    origins = _ORIGINS if every else _ORIGINS[:1]
    if "own_postgres" in metafunc.fixturenames:
        metafunc.parametrize("own_postgres", origins, indirect=True)
    if "postgres" in metafunc.fixturenames:
        shared = ("given",) if "TRELAY_TEST_POSTGRES" in os.environ else origins
        metafunc.parametrize("postgres", shared, indirect=True, scope="session")


@pytest.fixture(scope="session")
def _start_once() -> Iterator[Callable[[Origin], Postgres]]:
    """Start each PostgreSQL once, although pytest ends its fixture whenever the next test runs on the other one."""
    with ExitStack() as stack:
        yield functools.cache(lambda origin: stack.enter_context(postgres_server(origin)))


@pytest.fixture(scope="session")
def _databases_once(_start_once: object) -> Iterator[Callable[[Postgres], Databases]]:
    """Keep the templates of each PostgreSQL."""
    kept: dict[Postgres, Databases] = {}
    yield lambda server: kept.setdefault(server, Databases(server))
    for databases in kept.values():
        asyncio.run(databases.drop_templates())


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest, _start_once: Callable[[Origin], Postgres]) -> Postgres:
    """A PostgreSQL that all tests share."""
    if request.param == "given":
        return GivenPostgres(os.environ["TRELAY_TEST_POSTGRES"])
    with skipping_without(f"PostgreSQL ({request.param})", request.config):
        return _start_once(request.param)


@pytest.fixture(scope="session")
def databases(postgres: Postgres, _databases_once: Callable[[Postgres], Databases]) -> Databases:
    """Fresh databases on the shared PostgreSQL, from templates of your own."""
    return _databases_once(postgres)


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[str]:
    """The DSN of an empty database of this test's own."""
    async with databases.fresh() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def logical_postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A PostgreSQL that decodes its log, which all tests share."""
    settings = {"wal_level": "logical", "max_replication_slots": "50", "max_wal_senders": "2"}
    with skipping_without("PostgreSQL (wheel)", request.config), postgres_server(settings=settings) as server:
        yield server


@pytest.fixture
async def logical_database(logical_postgres: PostgresServer) -> AsyncIterator[str]:
    """The DSN of an empty database on it, without slots."""
    databases = Databases(logical_postgres)
    async with databases.fresh() as dsn:
        yield dsn
        await databases.drop_slots(dsn)


@pytest.fixture
def own_postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A PostgreSQL of this test's own, to be stopped, killed and started again."""
    with skipping_without(f"PostgreSQL ({request.param})", request.config), postgres_server(request.param) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_jars(request: pytest.FixtureRequest) -> Path:
    """The folder of Kafka's jars."""
    with skipping_without("Kafka", request.config):
        return find_jars()


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[Kafka]:
    """A Kafka that all tests share: topics and groups need names of their own, see `unique_name`."""
    if "TRELAY_TEST_KAFKA" in os.environ:
        yield GivenKafka(os.environ["TRELAY_TEST_KAFKA"])
        return
    with skipping_without("Kafka", request.config), kafka_server(settings=SHARED_SETTINGS) as server:
        yield server


@pytest.fixture
def own_kafka(request: pytest.FixtureRequest) -> Iterator[KafkaServer]:
    """A Kafka of this test's own, to be stopped, killed, paused and started again."""
    with skipping_without("Kafka", request.config), kafka_server() as server:
        yield server


@pytest.fixture(scope="module")
def kafka_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A Kafka of three brokers that the tests of a module share; see `unique_name`.

    Not those of a session: three brokers with nothing to do take a quarter of a busy machine, and up to a half.
    """
    with skipping_without("Kafka", request.config), kafka_cluster_servers() as cluster:
        yield cluster


@pytest.fixture
def own_kafka_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A Kafka of three brokers of this test's own, to be stopped, killed, paused and started again."""
    with skipping_without("Kafka", request.config), kafka_cluster_servers() as cluster:
        yield cluster


@pytest.fixture
def unique_name() -> str:
    """A name that no other test uses, for topics, groups and transactional ids."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def smtp() -> Iterator[MailServer]:
    """A mail server of this test's own."""
    with smtp_server() as server:
        yield server


@pytest.fixture
def smtp_address() -> Iterator[tuple[str, int]]:
    """Host and port of a mail server that may be a stranger's: for tests that only send."""
    given = os.environ.get("TRELAY_TEST_SMTP")
    if given is not None:
        host, _, port = given.rpartition(":")
        yield host, int(port)
        return
    with smtp_server() as server:
        yield server.host, server.port
