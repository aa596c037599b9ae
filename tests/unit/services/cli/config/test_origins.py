from pathlib import Path
from typing import Any

import pytest
import yaml

from services.cli.config.origins import scalar, text, values
from services.standalone.settings import WholeSettings
from shared.settings import parse_placed

FILE = """\
database:
  url: postgresql://trelay:hunter2@db/trelay
bus: {kind: kafka, servers: "${BROKERS}"}
system:
  node: ${POD_NAME:-a}-${HOST_NUMBER}
process:
  pipelines:
    orders:
      sources: [orders]
      channel: out
      steps:
        - drop: data.price
experience:
  tokens: {keys: [{id: k1, secret: "${SIGN}"}]}
  connections: {node: "${NODE_TOKEN}"}
"""
ENVIRONMENT = {"BROKERS": "kafka:9092", "HOST_NUMBER": "7", "SIGN": "s" * 40, "NODE_TOKEN": "hidden"}


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[Any, str]]:
    loaded = parse_placed(FILE.encode(), WholeSettings, ENVIRONMENT, name="t.yaml", folder=Path("/etc"))
    return {text(value.path): (value.value, value.origin) for value in values(loaded)}


@pytest.mark.parametrize(
    ("path", "value", "origin"),
    [
        ("system.listen.port", 8081, "default"),
        ("system.sources", {}, "default"),
        ("process.pipelines.orders.channel", "out", "t.yaml:10:7"),
        ("process.pipelines.orders.sources.0", "orders", "t.yaml:9:17"),
        ("bus.kind", "kafka", "t.yaml:3:7"),
        ("bus.servers", "kafka:9092", "environment BROKERS, t.yaml:3:20"),
        ("system.node", "a-7", "environment HOST_NUMBER, t.yaml:5:3"),
        ("experience.tokens.keys.0.secret", "***", "environment SIGN, t.yaml:14:28"),
        ("experience.connections.node", "***", "environment NODE_TOKEN, t.yaml:15:17"),
    ],
)
def test_a_value_and_its_origin(found: dict[str, tuple[Any, str]], path: str, value: Any, origin: str) -> None:
    assert found[path] == (value, origin)


def test_a_short_form_is_the_origin_of_what_it_stands_for(found: dict[str, tuple[Any, str]]) -> None:
    steps = {
        path: origin for path, (_, origin) in found.items() if path.startswith("process.pipelines.orders.steps.0.drop")
    }
    assert steps
    assert set(steps.values()) == {"t.yaml:12:11"}


def test_no_secret_is_shown(found: dict[str, tuple[Any, str]]) -> None:
    shown = str(found)
    assert "hunter2" not in shown
    assert "s" * 40 not in shown
    assert "hidden" not in shown


@pytest.mark.parametrize(
    "value",
    ["a", "a.b/c-1", "no", "Null", "y", "1", "a: b", "# c", "", "10.0.0.0/8", "ü\n", None, True, 1, 1.5, [], {}],
)
def test_a_scalar_is_read_as_it_was(value: Any) -> None:
    assert yaml.safe_load(f"key: {scalar(value)} # comment") == {"key": value}


def test_headers_and_parameters_that_may_hold_secrets_are_masked() -> None:
    source = """\
system:
  sources:
    orders:
      kind: http
      type: orders
      id: data.id
      channel: orders
      url: https://x.example/a?page=1&sig=hunter1&X-Amz-Signature=hunter2&api_key=hunter3
      headers: {Accept: application/json, X-API-Key: hunter4, Cookie: sid=hunter5, X-Anything: hunter6}
      auth:
        kind: oauth2
        token_url: https://x.example/token
        client_id: trelay
        client_secret: hunter7
        parameters: {audience: https://x.example, password: hunter8, client_assertion: hunter9}
"""
    loaded = parse_placed(source.encode(), WholeSettings, {}, name="t.yaml", folder=Path("/etc"))
    shown = {text(value.path).removeprefix("system.sources.orders."): value.value for value in values(loaded)}
    assert "hunter" not in str(shown)
    assert shown["url"] == "https://x.example/a?page=1&sig=***&X-Amz-Signature=***&api_key=***"
    assert (shown["headers.Accept"], shown["headers.X-Anything"]) == ("application/json", "***")
    assert shown["auth.parameters.audience"] == "https://x.example"
    assert shown["auth.token_url"] == "https://x.example/token"
