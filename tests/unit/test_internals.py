"""The private parts of libraries that Trelay uses: one that is gone, or has other arguments, fails by its name.

What a library documents may be used freely. Its private parts may change with any release, so each is listed here, and
pyproject.toml excludes the next minor release of its library.
"""

import ast
import importlib
import inspect
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]


class Internal(NamedTuple):
    """A private part, and the arguments that Trelay passes to it."""

    name: str
    """As `module:attribute.attribute`."""
    arguments: tuple[str, ...] = ()


USED: dict[str, list[Internal]] = {
    "aiohttp": [
        Internal("aiohttp.web:Request._prepare_hook", ("response",)),
        Internal(
            "aiohttp.web:Request",
            ("message", "payload", "protocol", "payload_writer", "task", "loop", "client_max_size"),
        ),
        Internal("aiohttp.web:RequestHandler.transport"),
        Internal("aiohttp.web:WebSocketResponse.close", ("code", "message", "drain")),
        Internal("aiohttp.http:RawRequestMessage"),
        Internal("aiohttp.abc:AbstractStreamWriter"),
    ],
    "aiokafka": [
        Internal(
            "aiokafka.conn:create_conn",
            (
                "host",
                "port",
                "client_id",
                "request_timeout_ms",
                "ssl_context",
                "security_protocol",
                "max_idle_ms",
                "sasl_mechanism",
                "sasl_plain_username",
                "sasl_plain_password",
            ),
        ),
        Internal("aiokafka.conn:AIOKafkaConnection.send", ("request",)),
        Internal("aiokafka.conn:AIOKafkaConnection.connected"),
        Internal("aiokafka.conn:AIOKafkaConnection.close", ("reason",)),
        Internal("aiokafka.conn:CloseReason.CONNECTION_TIMEOUT"),
        Internal("aiokafka.conn:CloseReason.SHUTDOWN"),
        Internal("aiokafka.coordinator.protocol:ConsumerProtocol.ASSIGNMENT"),
        Internal("aiokafka.coordinator.protocol:ConsumerProtocol.METADATA"),
        Internal("aiokafka.protocol.api:RequestStruct.build_request_header", ("correlation_id", "client_id")),
        Internal("aiokafka.protocol.api:RequestStruct.encode"),
        Internal("aiokafka.protocol.api:RequestStruct.parse_response_header"),
        Internal("aiokafka.protocol.api:Response.decode"),
        Internal("aiokafka.record.control_record:ControlRecord.parse"),
        Internal("aiokafka.record.default_records:DefaultRecordBatchBuilder.append"),
        Internal("aiokafka.record.default_records:DefaultRecordBatchBuilder.build"),
        Internal("aiokafka.record.default_records:DefaultRecordBatch.base_offset"),
        Internal("aiokafka.record.default_records:DefaultRecordBatch.next_offset"),
        Internal("aiokafka.record.default_records:DefaultRecordBatch.is_control_batch"),
        Internal("aiokafka.record.default_records:DefaultRecordBatch.is_transactional"),
        Internal("aiokafka.record.default_records:DefaultRecordBatch.producer_id"),
        Internal("aiokafka.record.default_records:DefaultRecord.timestamp"),
        Internal("aiokafka.record.memory_records:MemoryRecords.has_next"),
        Internal("aiokafka.record.memory_records:MemoryRecords.next_batch"),
    ],
    "alembic": [Internal("alembic.script:ScriptDirectory._upgrade_revs", ("destination", "current_rev"))],
    "jsonata-python": [
        Internal("jsonata:Parser.parse", ("jsonata", "regex_engine")),
        Internal("jsonata:Parser.process_ast", ("expr",)),
    ],
    "jsonatapy": [
        Internal("jsonatapy:compile", ("timeout", "max_sequence_length")),
        Internal("jsonatapy:JsonataExpression.evaluate_json_or_none"),
    ],
    "prometheus-client": [
        Internal("prometheus_client.exposition:choose_encoder", ("accept_header",)),
        Internal("prometheus_client.process_collector:ProcessCollector"),
    ],
    "pyyaml": [
        Internal("yaml.composer:Composer.compose_node", ("parent", "index")),
        Internal("yaml.composer:Composer.get_single_node"),
        Internal("yaml.resolver:BaseResolver.add_implicit_resolver", ("tag", "regexp", "first")),
    ],
}

SYNTAX_TREE = (
    "_else arguments body condition delete expression expressions lhs lhs_object pattern position procedure rhs"
    " rhs_object rhs_terms then type update value"
)
"""What `expression.names` reads of the nodes that jsonata-python's parser returns."""


def imported(package: str) -> Iterator[Internal]:
    """Yield everything that Trelay imports from the modules below a package."""
    for source in ("services", "shared"):
        for path in sorted((ROOT / source).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
                    yield from (Internal(f"{node.module}:{alias.name}") for alias in node.names)


# aiokafka documents its clients alone, so that everything below its top level is private.
ALL = sorted({*(internal for used in USED.values() for internal in used), *imported("aiokafka")})


@pytest.mark.parametrize("internal", ALL, ids=lambda internal: internal.name)
def test_it_exists_with_these_arguments(internal: Internal) -> None:
    found = resolved(internal.name)
    if internal.arguments:
        known = inspect.signature(found).parameters
        assert [argument for argument in internal.arguments if argument not in known] == []


def test_imports_are_found() -> None:
    names = {internal.name for internal in imported("aiokafka")}
    assert {"aiokafka.conn:create_conn", "aiokafka.protocol.types:Schema"} <= names
    assert len(names) > 30


def test_a_missing_part_fails_by_its_name() -> None:
    with pytest.raises(AttributeError, match="_upgrade_revisions"):
        resolved("alembic.script:ScriptDirectory._upgrade_revisions")


async def test_a_server_of_aiohttp_makes_requests_with_its_attribute() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    server = web.Server(handler)
    assert callable(server.request_factory)
    assert server().__class__ is web.RequestHandler


def test_a_connection_of_aiokafka_prepares_any_request() -> None:
    source = inspect.getsource(resolved("aiokafka.conn:AIOKafkaConnection.send"))
    assert "request.prepare(self._versions)" in source
    assert "build_request_header(" in source
    # `wire.produce` joins the parts of a body at the second of these.
    assert "header.encode() + request_struct.encode()" in source
    assert "write(size + message)" in source


@pytest.mark.parametrize("part", ["self._pool = ", "self._pool.get()", "self._stack = "])
def test_a_file_system_of_sshfs_has(part: str) -> None:
    assert part in inspect.getsource(resolved("sshfs:SSHFileSystem"))


@pytest.mark.parametrize("field", SYNTAX_TREE.split())
def test_a_node_of_the_syntax_tree_has(field: str) -> None:
    parser = resolved("jsonata:Parser")
    assert hasattr(parser.Symbol(parser()), field)


@pytest.mark.parametrize("library", USED)
def test_the_next_minor_release_of_its_library_is_excluded(library: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = (project["dependencies"], *project["optional-dependencies"].values())
    (declared,) = [each for group in groups for each in map(Requirement, group) if each.name == library]
    oldest = max(Version(bound.version) for bound in declared.specifier if bound.operator in {"~=", "==", ">="})
    assert declared.specifier.contains(oldest)
    assert not declared.specifier.contains(f"{oldest.major}.{oldest.minor + 1}.0")


def resolved(name: str) -> Any:
    """Import the object that a name stands for."""
    module, _, path = name.partition(":")
    found = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found
