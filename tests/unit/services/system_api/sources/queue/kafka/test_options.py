"""The settings of a Kafka source."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.system_api.sources.queue.kafka.options import KafkaSourceOptions


def options(**given: Any) -> KafkaSourceOptions:
    defaults = {"kind": "kafka", "servers": "h:9092", "type": "t"}
    if "pattern" not in given:
        defaults["topics"] = ["orders"]  # type: ignore[assignment] # a list among texts
    return KafkaSourceOptions.model_validate(defaults | given)


def test_the_client_of_the_bus_gets_the_connection() -> None:
    given = options(
        security_protocol="SASL_SSL",
        user="u",
        password="p",
        ca_file="/etc/ca.pem",
        request_timeout=3,
        connect_timeout=7,
    )
    cluster = given.cluster
    assert (cluster.servers, cluster.user, cluster.ca_file) == ("h:9092", "u", Path("/etc/ca.pem"))
    assert (cluster.request_timeout, cluster.delivery_timeout, cluster.sasl_mechanism) == (3, 7, "SCRAM-SHA-512")
    assert cluster.addresses == [("h", 9092)]
    assert cluster.password is not None
    assert cluster.password.get_secret_value() == "p"


def test_a_pattern_matches_whole_names() -> None:
    given = options(pattern=r"shop\..*")
    assert given.matches("shop.orders")
    assert not given.matches("my.shop.orders")
    assert not options().matches("orders")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"topics": None}, "found neither of `topics` and `pattern`"),
        ({"topics": ["a"], "pattern": "a"}, "found both of `topics` and `pattern`"),
        ({"topics": ["a", "a"]}, "topics: found a topic twice"),
        ({"topics": ["a/b"]}, "name of a topic"),
        ({"topics": []}, "at least 1"),
        ({"pattern": "("}, "pattern: found '\\('; expected a regular expression"),
        ({"servers": "nowhere"}, "expected host:port"),
        ({"servers": ["a:9092", "b:9092"]}, "found a list; expected one text: a:9092,b:9092"),
        ({"servers": []}, "valid string"),
        ({"user": "u"}, "user: PLAINTEXT does not authenticate"),
        ({"enable_auto_commit": True}, "enable_auto_commit: positions are saved"),
        ({"auto_offset_reset": "latest"}, "set `start: earliest`"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        options(**given)


def test_the_servers_are_required() -> None:
    with pytest.raises(ValidationError, match="servers"):
        KafkaSourceOptions.model_validate({"kind": "kafka", "topics": ["a"], "type": "t"})
