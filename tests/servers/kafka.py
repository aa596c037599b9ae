"""Kafka brokers for tests and benchmarks: in temporary folders, or one that already runs."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.standalone.data import KAFKA_POM
from services.standalone.embedded.jars import cache_folder, resolved_jars
from services.standalone.embedded.kafka import KafkaOptions, KafkaServer
from tests.servers.debian import need_command


class Kafka(Protocol):
    """What most tests need of a broker: where it is. Others use it too: give topics and groups names of your own."""

    @property
    def bootstrap(self) -> str:
        """`host:port`."""
        ...


@dataclass(frozen=True, slots=True)
class GivenKafka:
    """A broker that runs already."""

    bootstrap: str


def find_jars() -> Path:
    """Return the folder of Kafka's jars; Maven is installed where it is needed and missing.

    Raises:
        ServerMissing: there is no way to resolve them.
    """
    return resolved_jars(KAFKA_POM, cache_folder(), lambda: need_command("mvn", "maven"))


@contextmanager
def kafka_server(*, quick_start: bool = True, settings: Mapping[str, str] | None = None) -> Iterator[KafkaServer]:
    """Run a broker in a temporary folder; without `quick_start` its code gets fully compiled, for measuring.

    Raises:
        ServerMissing: no Java, or no jars and no way to resolve them.
    """
    jars = find_jars()
    with tempfile.TemporaryDirectory(prefix="trelay-kafka-") as folder:
        server = KafkaServer(KafkaOptions(Path(folder), jars, quick_start=quick_start, settings=settings or {}))
        try:
            server.start()
            yield server
        finally:
            server.kill()  # the data is not needed again
