"""Kafka brokers for tests and benchmarks: in temporary folders, or one that already runs."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.standalone.data import KAFKA_POM
from services.standalone.embedded.jars import cache_folder, resolved_jars
from services.standalone.embedded.kafka import KafkaOptions, KafkaServer, record_aot_cache
from services.standalone.embedded.process import free_port
from tests.servers.certificates import SERVER, Certificates
from tests.servers.debian import need_command
from tests.servers.processes import START_TIMEOUT, downloading_again, starting_again


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


@dataclass(frozen=True, slots=True)
class SecuredKafka:
    """A broker that also listens with TLS."""

    bootstrap: str
    """`host:port` without TLS."""
    tls_port: int
    """For clients with a certificate."""
    sasl_port: int
    """For clients with a password, `SASL_PASSWORD` of the user `trelay`, and TLS."""


SETTINGS = {
    # Transactions that a killed process left open are looked for each second, and not each tenth.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # No record in the metadata each half second while nothing changes: a broker at rest would write it to the disk.
    "metadata.max.idle.interval.ms": "0",
}

SHARED_SETTINGS = {
    # No other broker can take over from the only one: on a busy machine it would fence itself, and all its partitions
    # would be offline for a while. Not where a test starts it again, which then waits for this long.
    "broker.session.timeout.ms": "60000",
}

SASL_PASSWORD = "correct horse battery staple"


@downloading_again
def find_jars() -> Path:
    """Return the folder of Kafka's jars; Maven is installed where it is needed and missing.

    Raises:
        ServerMissing: there is no way to resolve them.
    """
    jars = resolved_jars(KAFKA_POM, cache_folder(), lambda: need_command("mvn", "maven"))
    record_aot_cache(jars)
    return jars


@starting_again
@contextmanager
def kafka_server(*, quick_start: bool = True, settings: Mapping[str, str] | None = None) -> Iterator[KafkaServer]:
    """Run a broker in a temporary folder; without `quick_start` its code gets fully compiled, for measuring.

    Raises:
        ServerMissing: no Java, or no jars and no way to resolve them.
    """
    jars = find_jars()
    with tempfile.TemporaryDirectory(prefix="trelay-kafka-") as folder:
        server = KafkaServer(
            KafkaOptions(
                Path(folder),
                jars,
                quick_start=quick_start,
                settings={**SETTINGS, **(settings or {})},
                start_timeout=START_TIMEOUT,
            )
        )
        try:
            server.start()
            yield server
        finally:
            server.kill()  # the data is not needed again


@starting_again
@contextmanager
def secured_kafka_server(certificates: Certificates) -> Iterator[SecuredKafka]:
    """Run a broker with listeners for TLS in a temporary folder.

    Raises:
        ServerMissing: no Java, or no jars and no way to resolve them.
    """
    jars = find_jars()
    clients, controller, tls, sasl = (free_port() for _ in range(4))
    listeners = {"PLAINTEXT": clients, "SSL": tls, "SASL_SSL": sasl}
    on_loopback = [f"{name}://127.0.0.1:{port}" for name, port in (listeners | {"CONTROLLER": controller}).items()]
    settings = {
        "listeners": ",".join(on_loopback),
        "advertised.listeners": ",".join(f"{name}://{SERVER}:{port}" for name, port in listeners.items()),
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL",
        "inter.broker.listener.name": "PLAINTEXT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificates.java_store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates.ca),
        "listener.name.ssl.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": (
            f'org.apache.kafka.common.security.plain.PlainLoginModule required user_trelay="{SASL_PASSWORD}";'
        ),
    }
    with tempfile.TemporaryDirectory(prefix="trelay-kafka-") as folder:
        (Path(folder) / "ports.json").write_text(json.dumps({"clients": clients, "controller": controller}))
        server = KafkaServer(KafkaOptions(Path(folder), jars, settings=settings, start_timeout=START_TIMEOUT))
        try:
            server.start()
            yield SecuredKafka(server.bootstrap, tls, sasl)
        finally:
            server.kill()
