from typing import Any

import pytest

from services.cli.check.exposure import is_local, warnings
from services.standalone.settings import WholeSettings

TABLE = {"kind": "table", "url": "postgresql://reader@db.example.com/shop", "table": "orders", "type": "t"}
TLS = {"cert_file": "a", "key_file": "b"}
API = {"kind": "http", "url": "http://api.example.com/orders", "type": "t", "id": "id"}
MAIL = {"host": "mail.example.com", "security": "none"}


def places(given: dict[str, Any]) -> list[str]:
    return [str(warning).partition(": ")[0] for warning in warnings(WholeSettings.model_validate(given))]


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LocalHost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("/var/run/postgresql", True),
        ("", False),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("2001:db8::1", False),
        ("db", False),
        ("localhost.example.com", False),
    ],
)
def test_what_is_this_machine(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_the_defaults_are_on_this_machine() -> None:
    assert places({}) == []


@pytest.mark.parametrize("service", ["system", "process", "experience"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "relay.example.com"])
def test_a_listener_for_others_without_tls_is_named(service: str, host: str) -> None:
    assert places({service: {"listen": {"host": host}}}) == [f"{service}.listen.host"]
    assert places({service: {"listen": {"host": host, "tls": TLS}}}) == []


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"system": {"sources": {"orders": TABLE}}}, "system.sources.orders.url"),
        (
            {"system": {"sources": {"s": {"kind": "websocket", "url": "ws://stream.example.com/", "type": "t"}}}},
            "system.sources.s.url",
        ),
        ({"system": {"deliver": {"url": "http://relay.example.com/entity"}}}, "system.deliver.url"),
        ({"database": {"url": "postgresql://trelay@one,two/trelay"}}, "database.url"),
        ({"database": {"url": "postgresql://trelay@127.0.0.1,10.0.0.1:5432/trelay"}}, "database.url"),
        ({"database": {"url": "postgresql:///trelay?host=db"}}, None),  # refused before
        ({"database": {"url": "postgresql://trelay@/trelay?host=db"}}, "database.url"),
        ({"bus": {"kind": "kafka", "servers": "kafka:9092"}}, "bus.servers"),
        (
            {"bus": {"kind": "kafka", "servers": "k:1", "security_protocol": "SASL_PLAINTEXT"}
             | {"user": "u", "password": "p"}},
            "bus.servers",
        ),
        ({"alerts": {"smtp": MAIL, "recipients": ["a@example.com"]}}, "alerts.smtp.host"),
    ],
)  # fmt: skip
def test_a_connection_to_another_machine_without_tls_is_named(given: dict[str, Any], place: str | None) -> None:
    if place is None:
        with pytest.raises(ValueError, match="expected postgresql"):
            places(given)
        return
    assert places(given) == [place]


@pytest.mark.parametrize(
    "given",
    [
        {"system": {"sources": {"orders": TABLE | {"tls": {}}}}},
        {"system": {"sources": {"orders": TABLE | {"url": "postgresql://reader@[::1]:5432/shop"}}}},
        {"system": {"sources": {"orders": TABLE | {"url": "sqlite:///shop.db"}}}},
        {"system": {"deliver": {"url": "http://127.0.0.1:8080/entity"}}},
        {"system": {"deliver": {"url": "https://relay.example.com/entity"}}},
        {"database": {"url": "postgresql://trelay@/trelay?host=/var/run/postgresql"}},
        {"database": {"url": "postgresql://trelay@%2Fvar%2Frun%2Fpostgresql/trelay"}},
        {"database": {"url": "postgresql://trelay@/trelay"}},
        {"database": {"url": "postgresql://trelay@db/trelay", "tls": {}}},
        {"bus": {"kind": "kafka", "servers": "[::1]:9092, localhost:9093"}},
        {"bus": {"kind": "kafka", "servers": "kafka:9092", "security_protocol": "SSL"}},
        {"alerts": {"smtp": MAIL | {"host": "localhost"}, "recipients": ["a@example.com"]}},
        {"alerts": {"smtp": MAIL | {"security": "starttls"}, "recipients": ["a@example.com"]}},
    ],
)
def test_what_is_encrypted_or_stays_on_this_machine_is_not_mentioned(given: dict[str, Any]) -> None:
    assert places(given) == []


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://api.example.com/orders", True),
        ("http://10.0.0.1/orders", True),
        ("http://localhost:8000/orders", False),
        ("https://api.example.com/orders", False),
    ],
)
def test_an_api_elsewhere_without_tls_is_named(url: str, named: bool) -> None:
    source = API | {"url": url, "network": {"private": True}}
    assert places({"system": {"sources": {"a": source}}}) == (["system.sources.a.url"] if named else [])
