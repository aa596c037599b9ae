"""Builds OpenAPI 3.1 documents from descriptions of endpoints, and serves and writes documents."""

import asyncio
import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from shared.http.problem import CONTENT_TYPE as PROBLEM
from shared.runtime.identity import release

Schema = Mapping[str, Any]
JSON = "application/json"
DOCS = Path(__file__).parents[3] / "docs" / "api"
_CACHED = {"Cache-Control": "max-age=60"}

_PROBLEM_SCHEMA: Schema = {
    "type": "object",
    "description": "Problem details (RFC 9457). Programs read `code`, people read `detail`.",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable."},
        "event": {
            "type": "integer",
            "minimum": 0,
            "description": "The index of the event that is refused, where one event of a batch is.",
        },
    },
    "required": ["type", "title", "status", "detail", "code"],
}


class Problem(Protocol):
    """A reason for which a request is refused."""

    @property
    def status(self) -> int: ...
    @property
    def code(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def headers(self) -> Sequence[tuple[str, str]]: ...


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason, as data."""

    status: int
    code: str
    title: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method of one path does."""

    summary: str
    description: str = ""
    parameters: Sequence[Schema] = ()
    body: Mapping[str, Schema] = field(default_factory=dict)
    """Schema of the body, by content type."""
    body_required: bool = True
    responses: Mapping[int, tuple[str, Mapping[str, Schema]]] = field(default_factory=dict)
    """By status: its meaning, and the schema of the body by content type."""
    problems: Sequence[Problem] = ()
    security: Sequence[str] | None = None
    """Names of security schemes, any of which suffices; empty for none, None where the document says nothing of it."""
    anonymous: bool = False
    """Whether a request without credentials may be accepted as well."""


UNDESCRIBED = Operation("Not described yet")


def query(name: str, description: str, schema: Schema | None = None) -> Schema:
    """Return an optional query parameter."""
    return {"name": name, "in": "query", "description": description, "schema": schema or {"type": "string"}}


def header(name: str, description: str, schema: Schema | None = None) -> Schema:
    """Return an optional header."""
    return {"name": name, "in": "header", "description": description, "schema": schema or {"type": "string"}}


def object_of(properties: Mapping[str, Schema]) -> Schema:
    """Return the schema of an object that has all of these members."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def body_of(properties: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    """Return the schema of a body that has no members but these."""
    more = {"required": list(required)} if required else {}
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


def by_name(schema: Schema, description: str = "By name.") -> Schema:
    """Return the schema of an object whose members have names of their own."""
    return {"type": "object", "additionalProperties": schema, "description": description}


def with_optional(schema: Schema, optional: Mapping[str, Schema]) -> Schema:
    """Return the schema of an object that may have more members."""
    return {**schema, "properties": {**schema["properties"], **optional}}


def or_null(schema: Schema) -> Schema:
    """Return the schema of a value that may be missing."""
    if isinstance(kind := schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def document(
    title: str,
    description: str,
    routes: Iterable[tuple[str, str]],
    operations: Mapping[tuple[str, str], Operation],
    security: Mapping[str, Schema],
) -> dict[str, Any]:
    """Return the document of these routes: method and path. One without an operation is listed as not described."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path in sorted(routes, key=lambda route: (route[1], route[0])):
        found = operations.get((method, path), UNDESCRIBED)
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, found)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": release(), "description": description},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": {"Problem": _PROBLEM_SCHEMA}, "securitySchemes": dict(security)},
    }


def _operation(method: str, path: str, found: Operation) -> dict[str, Any]:
    name = "".join(word.strip("{}").title() for word in path.replace(".", "/").split("/"))
    shown: dict[str, Any] = {"operationId": f"{method.lower()}{name}", "summary": found.summary}
    if found.description:
        shown["description"] = found.description
    if parameters := [*_in_path(path), *found.parameters]:
        shown["parameters"] = parameters
    if found.body:
        shown["requestBody"] = {"required": found.body_required, "content": _content(found.body)}
    shown["responses"] = _responses(found)
    if found.security is not None:
        shown["security"] = [*({name: []} for name in found.security), *([{}] if found.anonymous else [])]
    return shown


def _in_path(path: str) -> list[Schema]:
    names = [word[1:-1] for word in path.split("/") if word.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _responses(found: Operation) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for status, (meaning, content) in found.responses.items():
        shown[str(status)] = {"description": meaning} | ({"content": _content(content)} if content else {})
    by_status: dict[int, list[Problem]] = {}
    for problem in found.problems:
        by_status.setdefault(problem.status, []).append(problem)
    for status, problems in sorted(by_status.items()):
        shown[str(status)] = _refused(problems)
    shown["default"] = {"description": "Any other error", "content": {PROBLEM: {"schema": _REFERENCE}}}
    return shown


_REFERENCE: Schema = {"$ref": "#/components/schemas/Problem"}


def _refused(problems: Sequence[Problem]) -> dict[str, Any]:
    codes = [problem.code for problem in problems]
    schema = {"allOf": [_REFERENCE, {"properties": {"code": {"enum": codes}}}]}
    meaning = "\n".join(f"- `{problem.code}`: {problem.title}." for problem in problems)
    shown: dict[str, Any] = {"description": meaning, "content": {PROBLEM: {"schema": schema}}}
    headers = {name for problem in problems for name, _ in problem.headers}
    if problems[0].status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.CONFLICT}:
        headers.add("Retry-After")
    if headers:
        shown["headers"] = {name: {"schema": {"type": "string"}} for name in sorted(headers)}
    return shown


def _content(schemas: Mapping[str, Schema]) -> dict[str, Any]:
    return {media: {"schema": schema} for media, schema in schemas.items()}


def routes_of(app: web.Application) -> list[tuple[str, str]]:
    """Return the routes of an application: method and path."""
    found = [(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None]
    return [route for route in dict.fromkeys(found) if route[0] not in {"HEAD", "OPTIONS", "*"}]


def text_of(found: Mapping[str, Any]) -> str:
    """Return a document as text."""
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def add_document(app: web.Application, path: str, make: Callable[[], str]) -> None:
    """Serve a document at a path. It is made when it is first asked for."""
    made = functools.cache(make)

    async def show(_request: web.Request) -> web.Response:
        text = await asyncio.to_thread(made)  # it takes milliseconds, and looks up the release in a file
        return web.Response(text=text, content_type=JSON, headers=_CACHED)

    app.router.add_get(path, show)


def write(files: Mapping[Path, str]) -> None:
    """Write the files of the documentation."""
    for path, text in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@dataclass(frozen=True, slots=True)
class OpenApi:
    """The OpenAPI document of a service: `serve` adds it to an application, `files` are those in the documentation."""

    name: str
    """Of its file."""
    title: str
    description: str
    operations: Mapping[tuple[str, str], Operation]
    security: Mapping[str, Schema]

    def serve(self, app: web.Application) -> None:
        """Serve `/openapi.json`, of the routes that the application has by the first request."""
        add_document(app, "/openapi.json", lambda: self._text(routes_of(app)))

    def files(self) -> dict[Path, str]:
        """Return what the file in the documentation holds, by its path."""
        return {DOCS / f"{self.name}.openapi.json": self._text(self.operations)}

    def _text(self, routes: Iterable[tuple[str, str]]) -> str:
        return text_of(document(self.title, self.description, routes, self.operations, self.security))
