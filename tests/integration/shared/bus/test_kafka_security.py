"""A broker that requires TLS and authentication."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from pydantic import SecretStr

from services.standalone.embedded.kafka import KafkaOptions as ServerOptions
from services.standalone.embedded.kafka import KafkaServer
from services.standalone.embedded.process import free_port
from shared.bus.kafka import KafkaOptions
from shared.bus.kafka.bus import connect_kafka
from shared.bus.protocol import TopicOptions, Transaction
from shared.errors import SettingsError, Unauthorized, Unavailable

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secured(authority: trustme.CA, kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a listener that requires TLS and authentication."""
    folder = tmp_path_factory.mktemp("secured")
    clients, controller, port = (free_port() for _ in range(3))
    (folder / "ports.json").write_text(json.dumps({"clients": clients, "controller": controller}))
    settings = {
        "listeners": ",".join(
            (
                f"PLAINTEXT://127.0.0.1:{clients}",
                f"SASL_SSL://127.0.0.1:{port}",
                f"CONTROLLER://127.0.0.1:{controller}",
            )
        ),
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL",
        "inter.broker.listener.name": "PLAINTEXT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(key_store(authority, folder)),
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": (
            f'org.apache.kafka.common.security.plain.PlainLoginModule required user_trelay="{PASSWORD}";'
        ),
    }
    server = KafkaServer(ServerOptions(folder, kafka_jars, settings=settings))
    try:
        server.start()
        yield port
    finally:
        server.kill()


def key_store(authority: trustme.CA, folder: Path) -> Path:
    """Write the key and the certificates of the broker in the only format that Java reads."""
    issued = authority.issue_cert("127.0.0.1")
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    store = folder / "broker.pem"
    store.write_bytes(pkcs8 + b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    return store


@pytest.fixture
def options(secured: int, authority: trustme.CA, tmp_path: Path) -> KafkaOptions:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return KafkaOptions(
        servers=f"127.0.0.1:{secured}",
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        ca_file=ca_file,
        user="trelay",
        password=SecretStr(PASSWORD),
    )


async def test_an_authenticated_client_writes_and_reads(options: KafkaOptions, unique_name: str) -> None:
    async with connect_kafka(options) as bus:
        await bus.ensure_topics([TopicOptions(name=unique_name, partitions=1)])
        transaction = Transaction()
        transaction.append(unique_name, b"k", b"v")
        async with bus.writer("secured") as writer, bus.reader(unique_name, {0: 0}) as reader:
            await writer.commit(transaction)
            [record] = await reader.read()
        assert record.value == b"v"


async def test_a_wrong_password_is_an_error_that_does_not_show_it(options: KafkaOptions) -> None:
    wrong = options.model_copy(update={"password": SecretStr("hunter2")})
    with pytest.raises(Unauthorized) as raised:
        async with connect_kafka(wrong):
            pass
    assert re.search(r"127\.0\.0\.1.*Authentication failed", str(raised.value))
    assert "hunter2" not in str(raised.value)


async def test_a_certificate_of_an_unknown_authority_is_refused(options: KafkaOptions, tmp_path: Path) -> None:
    unknown = tmp_path / "unknown.pem"
    trustme.CA().cert_pem.write_to_path(str(unknown))
    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        async with connect_kafka(options.model_copy(update={"ca_file": unknown})):
            pass


async def test_a_missing_ca_file_is_named(options: KafkaOptions, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(SettingsError, match=re.escape(str(missing))):
        async with connect_kafka(options.model_copy(update={"ca_file": missing})):
            pass
