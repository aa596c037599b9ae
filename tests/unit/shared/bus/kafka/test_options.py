"""Options that are consistent, and secrets that are never shown."""

import pytest
from pydantic import SecretStr, ValidationError

from shared.bus.kafka import KafkaOptions


def test_servers_are_split_into_addresses() -> None:
    options = KafkaOptions(servers="a.example:9092, [::1]:9093,10.0.0.1:1")
    assert options.addresses == [("a.example", 9092), ("::1", 9093), ("10.0.0.1", 1)]


@pytest.mark.parametrize(
    "servers", ["", "kafka", "kafka:", "kafka:9092,", "kafka:9092;b:1", "a b:1", "a:70000", "a:1,b:0"]
)
def test_malformed_servers_are_refused(servers: str) -> None:
    with pytest.raises(ValidationError, match="servers"):
        KafkaOptions(servers=servers)


def test_authentication_needs_a_user_and_a_password() -> None:
    with pytest.raises(ValidationError, match="SASL_SSL needs `user` and `password`"):
        KafkaOptions(security_protocol="SASL_SSL", user="trelay")


def test_a_user_needs_authentication() -> None:
    with pytest.raises(ValidationError, match="user: SSL does not authenticate; use security_protocol: SASL_SSL"):
        KafkaOptions(security_protocol="SSL", user="trelay", password=SecretStr("s3cret"))


@pytest.mark.parametrize("given", [{"ca_file": "ca.pem"}, {"cert_file": "us.pem", "key_file": "us.key"}])
def test_certificates_need_tls(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="PLAINTEXT does not use certificates"):
        KafkaOptions.model_validate(given)


def test_a_password_is_not_shown() -> None:
    options = KafkaOptions(security_protocol="SASL_SSL", user="trelay", password=SecretStr("s3cret"))
    assert "s3cret" not in repr(options) + str(options.model_dump()) + options.model_dump_json()


@pytest.mark.parametrize("given", [{"key_file": "us.key"}, {"key_password": "secret"}])
def test_a_key_needs_its_certificate(given: dict[str, str]) -> None:
    (name,) = given
    with pytest.raises(ValidationError, match=f"{name}: needs `cert_file`"):
        KafkaOptions.model_validate({"security_protocol": "SSL", **given})
