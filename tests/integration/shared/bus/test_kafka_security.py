"""A broker that requires TLS and authentication."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.bus.kafka import KafkaOptions
from shared.bus.kafka.bus import connect_kafka
from shared.bus.protocol import TopicOptions, Transaction
from shared.errors import SettingsError, Unauthorized, Unavailable
from tests.servers.certificates import SERVER, Certificates
from tests.servers.kafka import SASL_PASSWORD, SecuredKafka


@pytest.fixture
def options(secured_kafka: SecuredKafka, certificates: Certificates) -> KafkaOptions:
    return KafkaOptions(
        servers=f"{SERVER}:{secured_kafka.sasl_port}",
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        ca_file=certificates.ca,
        user="trelay",
        password=SecretStr(SASL_PASSWORD),
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
    assert re.search(r"localhost.*Authentication failed", str(raised.value))
    assert "hunter2" not in str(raised.value)


async def test_a_certificate_of_an_unknown_authority_is_refused(
    options: KafkaOptions, certificates: Certificates
) -> None:
    with pytest.raises(Unavailable, match=r"unable to get local issuer certificate; .*set `ca_file` to its authority"):
        async with connect_kafka(options.model_copy(update={"ca_file": certificates.unknown_ca})):
            pass


async def test_a_missing_ca_file_is_named(options: KafkaOptions, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(SettingsError, match=re.escape(str(missing))):
        async with connect_kafka(options.model_copy(update={"ca_file": missing})):
            pass
