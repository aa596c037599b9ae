"""Options that fit together, and nothing that shows a secret."""

import pytest
from pydantic import SecretStr, ValidationError

from shared.bus.kafka import KafkaOptions


def test_servers_are_taken_apart() -> None:
    options = KafkaOptions(servers="a.example:9092, [::1]:9093,10.0.0.1:1")
    assert options.addresses == [("a.example", 9092), ("::1", 9093), ("10.0.0.1", 1)]


@pytest.mark.parametrize(
    "servers", ["", "kafka", "kafka:", "kafka:9092,", "kafka:9092;b:1", "a b:1", "a:70000", "a:1,b:0"]
)
def test_servers_that_are_none_are_refused(servers: str) -> None:
    with pytest.raises(ValidationError, match="servers"):
        KafkaOptions(servers=servers)


def test_logging_in_needs_an_account() -> None:
    with pytest.raises(ValidationError, match="SASL_SSL needs `user` and `password`"):
        KafkaOptions(security_protocol="SASL_SSL", user="trelay")


def test_an_account_needs_logging_in() -> None:
    with pytest.raises(ValidationError, match="SSL does not log in: SASL_SSL does"):
        KafkaOptions(security_protocol="SSL", user="trelay", password=SecretStr("s3cret"))


def test_certificates_need_tls() -> None:
    with pytest.raises(ValidationError, match="PLAINTEXT does not use any"):
        KafkaOptions.model_validate({"ca_file": "ca.pem"})


def test_a_password_is_not_shown() -> None:
    options = KafkaOptions(security_protocol="SASL_SSL", user="trelay", password=SecretStr("s3cret"))
    assert "s3cret" not in repr(options) + str(options.model_dump()) + options.model_dump_json()
