"""One file, one verdict: `trelay check` and validators of JSON Schema, given what `trelay schema` prints."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
import regress
import trustme

from services.cli import main
from services.standalone.settings import WholeSettings
from shared.errors import SettingsError
from shared.settings import document, json_schema, load

WHOLE = """\
database: {url: "postgresql://trelay@db:5432/trelay", password: secret, tls: {ca_file: ca.pem, verify: true},
  pool_size: 4, connect_timeout: 5, statement_timeout: 15.5}
bus:
  kind: kafka
  servers: kafka-0:9092, kafka-1:9092
  topics: {prefix: trelay, partitions: 4, replicas: 3, retention_hours: 168, dead_letter_retention_hours: 2160}
  security_protocol: SASL_SSL
  ca_file: ca.pem
  cert_file: own.pem
  key_file: own.key
  sasl_mechanism: PLAIN
  user: trelay
  password: {file: password.txt}
  compression: zstd
  request_timeout: 5
  delivery_timeout: 15
  session_timeout: 10
alerts:
  smtp: {host: mail, port: 587, security: starttls, ca_file: ca.pem, user: trelay, password: secret, timeout: 15}
  sender: trelay@localhost
  recipients: [devops@example.com]
  name: "Orders: Köln/1"
  group_wait: 5
  resolve_wait: 60
  repeat_interval: 3600
  mails_per_hour: 10
  spool: spool
  max_unsent: 100
logs: {format: text, level: debug, loggers: {aiohttp: warning}}
system:
  listen: {host: 127.0.0.1, port: 8081, health: {host: 127.0.0.1, port: 9081}, backlog: 10, body_limit: 2048,
    limits: {header_timeout: 10, keepalive_timeout: 75, max_idle_per_address: 100, max_idle: 5000},
    shutdown_timeout: 5}
  node: system-0
  lease_seconds: 6
  sources:
    stock:
      kind: file
      path: stock/*.csv
      format: csv
      mode: drop
      type: stock.level
      subject: sku
      time: at
      channel: stock.eu
      interval: 1
      batch: 1000
      poll_timeout: 60
      retry: {attempts: 3, first_wait: 0.1, longest_wait: 1, probe_interval: 60, give_up_after: 60}
      line_limit: 1048576
      forget_hours: 24
      csv: {delimiter: ";", quotes: true, header: true, columns: [sku, at, level], types: {level: integer}}
      drop: {ready: done-file, stable_seconds: 1, done_suffix: .ok, after: archive, archive: done, receipt: true}
    orders:
      kind: table
      url: postgresql://trelay@db/shop
      password: secret
      tls: {ca_file: ca.pem, verify: true}
      table: shop.orders
      key: id
      updated_at_column: updated_at
      subject: id
      columns: [id, amount]
      time_zone: Europe/Berlin
      overlap: 0
      early_limit: 10000
      row_limit: 1048576
      notify: orders_changed
      type: order.updated
process:
  listen: {port: 8082}
  node: process-0
  transaction: {events: 1000, bytes: 4194304, seconds: 0.1}
  pipelines:
    orders:
      sources: [orders, "ord*"]
      channel: orders.all
      steps:
        - filter: amount > 100
        - set: {data.region: eu, subject: =customer.id, "data.`first name`": [1, {a: null}]}
        - drop: [data.card, data.customer.email]
        - drop: data.secret
        - rename: {data.cust: data.customer, data.kind: type}
        - validate: {type: object}
        - validate: order.json
        - map: "{'id': id}"
        - route: {by: region, table: {eu: orders.eu}, default: orders.other}
        - route: '"orders." & region'
        - python: copy:copy
experience:
  listen: {port: 8080, tls: {cert_file: own.pem, key_file: own.key, key_password: secret, reload_interval: 10}}
  trusted_proxies: [10.0.0.0/8, "fd00::/8"]
  tokens: {issuer: trelay, keys: [{id: k1, secret: 0123456789abcdef0123456789abcdef}],
    expires_after_days_disconnected: 30}
  secrets: {threads: 1, queue: 16, cache_ttl: 30, cache_size: 1000}
  handshakes: {failures: 50, failures_per_second: 1, addresses: 100, max_concurrent: 100, retry_after: 1}
  registrations: {failures: 20}
  connections: {node: experience-0, lease_seconds: 30, probe_timeout: 1.5, reconcile_interval: 60}
  entity: {allow: [127.0.0.1], body_timeout: 30, timeout: 10, batch_limit: 1000, source: /sources/entity, type: e.p}
  delivery:
    feed: {preload: 5000}
    history: {limit_bytes: 1048576}
    hub: {outbox_bytes: 1048576, heartbeat: {seconds: 25}}
    catch_up: {log_reader: {readers: 8, chunk_bytes: 1048576}, drain_timeout: 30}
    drain: {wave: 200, pause: 0.2, spread: 4}
    close_timeout: 5
    inbound_bytes: 262144
  drain_within: 15
"""
"""Every setting that there is, but for those of the other kind of bus."""

REFERENCES = ("${X}", "x${X:-5}")
ODD: tuple[Any, ...] = (
    None, True, 0, 1, -1, 2.5, "", "x", "yes", "5", "a b", "ä", "a@b", "$${X}", "x" * 300,
    [], ["x"], [1], {}, {"x": 1}, *REFERENCES,
)  # fmt: skip

ENVIRONMENT = {"X": "1"}

INDEPENDENT = {"the file", "database", "logs", "system", "sources", "process", "pipelines", "experience", "delivery"}
"""Where what stands side by side has nothing to do with one another."""

BEYOND_A_SCHEMA = (
    "does not compile",
    "cannot be read",
    "does not appear to be",
    "JSON Schema",
    "the key is too short",
    "belong together",
    "needs `user`",
    "needs `cert_file`",
    "smtp is set without recipients",
    "there is no column",
    "would become",
    "longest_wait",
)
"""Parts of the sentences about what JSON Schema cannot say: what concerns several keys, files and expressions."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("settings")
    (folder / "password.txt").write_text("secret\n")
    (folder / "order.json").write_text("{}")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(folder / "own.key")
    issued.cert_chain_pems[0].write_to_path(folder / "own.pem")
    return folder


@pytest.fixture(scope="module")
def odd(folder: Path) -> list[tuple[tuple[Any, ...], Any, Any, str | None]]:
    """Each place of the whole example with each odd value: the settings around it, and what is wrong with them."""
    whole = document.read(WHOLE).value
    found = [(path, value, _alone(whole, path, value)) for path in _places(whole) for value in ODD]
    return [(path, value, settings, _fault(folder, settings)) for path, value, settings in found]


Validator = Callable[[Any], bool]


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema(WholeSettings)


@pytest.fixture(scope="module", params=["jsonschema-rs", "jsonschema with ECMA-262"])
def validator(request: pytest.FixtureRequest, schema: dict[str, Any]) -> Validator:
    if request.param == "jsonschema-rs":
        return jsonschema_rs.validator_for(schema).is_valid
    made = jsonschema.validators.extend(
        jsonschema.Draft202012Validator, {"pattern": _pattern, "patternProperties": _pattern_properties}
    )
    made.check_schema(schema)

    ready = made(schema)
    return lambda instance: bool(ready.is_valid(instance))


_compiled: dict[str, regress.Regex] = {}


def _matches(pattern: str, text: str) -> bool:
    if pattern not in _compiled:
        _compiled[pattern] = regress.Regex(pattern, "u")
    return _compiled[pattern].find(text) is not None


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[jsonschema.ValidationError]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, _schema: Any
) -> Iterator[jsonschema.ValidationError]:
    for pattern, below in patterns.items():
        for key, value in instance.items() if isinstance(instance, dict) else ():
            if _matches(pattern, key):
                yield from validator.descend(value, below, path=key, schema_path=pattern)


EMPTY = ["", "# nothing but a comment", "{}", "system:"]
"""Settings with nothing but defaults: services start with them, and `check` refuses them, for nothing would run."""

RIGHT = [
    "bus: {kind: postgres}",
    "bus: {kind: kafka, servers: '[::1]:9092'}",
    "bus: {kind: '${BUS:-postgres}'}",
    "experience: {listen: {port: '${PORT:-8080}'}}",
    "experience: {tokens: {expires_after_days_disconnected: 0.5}}",
    "experience: {listen: {port: 8080.0}}",
    "logs: {format: '${FORMAT:-json}'}",
    "alerts: {name: 'Köln: Büro/1'}",
    "alerts: {sender: 'a+b@é.example'}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t, subject: id, channel: a, csv: {header: true}}}}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t, subject: id, channel: a, csv: {header: '${H:-yes}'}}}}",
    "system: {sources: {a: {kind: table, url: 'sqlite:///a.db', table: t, type: t, channel: a-b_c.D1}}}",
    "process: {pipelines: {a: {sources: ['*'], channel: a, steps: [{set: {'data.é': 1, subject: =id}}]}}}",
]

WRONG = [
    "[]",
    "text",
    "sistem: {}",
    "system: []",
    "bus: {}",
    "bus: {kind: rabbit}",
    "bus: {kind: kafka, servers: nowhere}",
    "bus: {kind: postgres, servers: 'a:1'}",
    "bus: {kind: postgres, topics: {prefix: 'a b'}}",
    "experience: {listen: {port: yes}}",
    "experience: {listen: {port: '8080'}}",
    "experience: {listen: {port: true}}",
    "experience: {listen: {port: 8080.5}}",
    "experience: {listen: {port: 65536}}",
    "experience: {listen: {port: null}}",
    "experience: {listen: {port: '$${PORT}'}}",
    "experience: {tokens: {expires_after_days_disconnected: 0}}",
    "experience: {tokens: {expires_after_days_disconnected: 40000}}",
    "experience: {trusted_proxies: [localhost]}",
    "experience: {entity: {allow: ['10.0.0.0/8 ']}}",
    "logs: {format: xml}",
    "logs: {loggers: {aiohttp: loud}}",
    "alerts: {name: 'a\"b'}",
    "alerts: {name: ''}",
    "alerts: {sender: 'Trelay <trelay@example.com>'}",
    'alerts: {sender: "a\\"b@example.com"}',
    "database: {url: 'mysql://db/trelay'}",
    "database: {tls: {verify: no}}",
    "system: {sources: {Orders: {kind: file, path: a.csv, type: t, subject: id}}}",
    "system: {sources: {a: {path: a.csv, type: t, subject: id}}}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t}}}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t, subject: id, channel: a b}}}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t, subject: id, channel: a..b}}}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t, subject: id, csv: {header: yes}}}}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t, subject: id, csv: {header: 1}}}}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t, subject: id, csv: {delimiter: '||'}}}}",
    "system: {sources: {a: {kind: table, url: 'sqlite:///a.db', table: t, type: t, key: 5}}}",
    "system: {sources: {a: {kind: table, url: 'mysql://db/a', table: t, type: t}}}",
    "process: {pipelines: {A: {sources: [a]}}}",
    "process: {pipelines: {a: {}}}",
    "process: {pipelines: {a: {sources: []}}}",
    "process: {pipelines: {a: {sources: [a], channel: a/b}}}",
    "process: {pipelines: {a: {sources: [a], chanel: a}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{filtr: a}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [filter]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{filter: a, map: b}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{filter: ''}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{set: {}}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{set: {id: 1}}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{set: {a.b: 1}}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{set: {data..a: 1}}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{drop: type}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{drop: []}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{rename: {data.a: source}}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{route: {by: a, table: {x: 'a b'}}}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{python: no function}]}}}",
]


@pytest.mark.parametrize("text", [WHOLE, *RIGHT])
def test_what_is_right_is_right_for_all(
    text: str, folder: Path, validator: Validator, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "trelay.yaml").write_text(text)
    assert main(["check", str(folder / "trelay.yaml")]) == 0, capsys.readouterr().err
    assert validator(document.read(text).value)


@pytest.mark.parametrize("text", EMPTY)
def test_settings_without_a_section_are_valid_and_refused_by_check_alone(
    text: str, folder: Path, validator: Validator, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "trelay.yaml").write_text(text)
    assert main(["check", str(folder / "trelay.yaml")]) == 2
    assert "no settings" in capsys.readouterr().err
    assert validator(document.read(text).value)


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_wrong_for_all(
    text: str, folder: Path, validator: Validator, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "trelay.yaml").write_text(text)
    assert main(["check", str(folder / "trelay.yaml")]) == 2
    assert f"{folder / 'trelay.yaml'}:1:" in capsys.readouterr().err
    assert not validator(document.read(text).value)


@pytest.mark.timeout(240)
def test_every_setting_with_every_odd_value(
    odd: list[tuple[tuple[Any, ...], Any, Any, str | None]], validator: Validator
) -> None:
    for path, value, settings, said in odd:
        if not validator(settings):
            assert said is not None, (path, value)
        elif value not in REFERENCES:  # a schema does not know what the environment holds
            assert said is None or any(part in said for part in BEYOND_A_SCHEMA), (path, value, said)


def test_every_setting_is_there(schema: dict[str, Any]) -> None:
    """So that the test of odd values leaves none out: each name of a setting stands in the whole example."""
    names = {name for options in schema["$defs"].values() for name in options.get("properties", ())}
    of_the_other_bus = {"writing_connections", "reading_connections", "retention_check_interval"}
    assert {name for name in names - of_the_other_bus if f"{name}:" not in WHOLE} == set()


def test_each_setting_is_described(schema: dict[str, Any]) -> None:
    nodes = {"the file": schema, **schema["$defs"]}
    settings = {(of, name): said for of, node in nodes.items() for name, said in node.get("properties", {}).items()}
    assert [place for place, said in settings.items() if not said.get("description")] == []
    assert len(settings) > 100


def test_no_object_is_left_open(schema: dict[str, Any]) -> None:
    """But for the JSON Schema of the step `validate`."""
    objects = [node for node in _nodes(schema) if node.get("type") == "object"]
    assert [node for node in objects if "additionalProperties" not in node] == [{"type": "object"}]


def test_only_standard_keywords_are_used(schema: dict[str, Any]) -> None:
    meta = jsonschema.Draft202012Validator.META_SCHEMA
    standard = {"$schema", "$ref", "$defs", "if", "then", "else"}
    for reference in meta["allOf"]:
        vocabulary = jsonschema.validators.Draft202012Validator(meta)._resolver.lookup(reference["$ref"])
        standard |= vocabulary.contents["properties"].keys()
    assert {keyword for node in _nodes(schema) for keyword in node} - standard - {"format"} == set()


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_the_patterns_are_those_of_javascript(schema: dict[str, Any]) -> None:
    patterns = sorted(_patterns(schema))
    texts = [*(value for value in ODD if isinstance(value, str)), *_texts(document.read(WHOLE).value)]
    script = (
        "const [patterns, texts] = JSON.parse(require('fs').readFileSync(0));"
        "console.log(JSON.stringify(patterns.map(p => texts.map(t => new RegExp(p, 'u').test(t)))))"
    )
    ran = subprocess.run(
        ["node", "-e", script], input=json.dumps([patterns, texts]), capture_output=True, text=True, check=True
    )
    assert json.loads(ran.stdout) == [[_matches(pattern, text) for text in texts] for pattern in patterns]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(item, (*path, key))


def _alone(whole: Any, path: tuple[Any, ...], value: Any, within: str = "the file") -> Any:
    """Put a value at a place, and leave out what is beside it and independent of it: that is quicker to read."""
    if not path:
        return value
    first, *further = path
    put = _alone(whole[first], tuple(further), value, str(first))
    if isinstance(whole, list):
        return [put] if within == "steps" else [*whole[:first], put, *whole[first + 1 :]]
    return {first: put} if within in INDEPENDENT else {**whole, first: put}


def _fault(folder: Path, value: Any) -> str | None:
    (folder / "odd.yaml").write_text(json.dumps(value))
    try:
        load(folder / "odd.yaml", WholeSettings, ENVIRONMENT)
    except SettingsError as exc:
        return str(exc)
    return None


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Yield each schema within a schema."""
    yield node
    for keyword, item in node.items():
        if keyword in {"properties", "patternProperties", "$defs"}:
            for below in item.values():
                yield from _nodes(below)
        elif keyword in {"anyOf", "oneOf", "allOf"}:
            for below in item:
                yield from _nodes(below)
        elif keyword in {"items", "additionalProperties"} and isinstance(item, dict):
            yield from _nodes(item)


def _patterns(schema: Any) -> set[str]:
    nodes = list(_nodes(schema))
    own = {node["pattern"] for node in nodes if "pattern" in node}
    return own | {pattern for node in nodes for pattern in node.get("patternProperties", ())}


def _texts(value: Any) -> Iterator[str]:
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(item)
    if isinstance(value, str):
        yield value
