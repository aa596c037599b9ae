from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from shared.http.openapi.document import (
    JSON,
    Operation,
    Schema,
    add_document,
    body_of,
    by_name,
    document,
    header,
    object_of,
    or_null,
    query,
    routes_of,
    with_optional,
    write,
)


@dataclass(frozen=True)
class Reason:
    status: int
    code: str
    title: str = "A title"
    headers: tuple[tuple[str, str], ...] = ()


def described(operation: Operation, path: str = "/things") -> dict[str, object]:
    found = document("t", "d", [("GET", path)], {("GET", path): operation}, {})
    shown: dict[str, object] = found["paths"][path]["get"]
    return shown


def test_an_operation_is_shown_with_all_that_it_takes_and_answers() -> None:
    operation = Operation(
        "Read",
        "All of it.",
        parameters=[query("a", "A."), header("B", "B.", {"type": "integer"})],
        body={JSON: {"type": "object"}},
        responses={200: ("Done", {JSON: object_of({"n": {"type": "integer"}})}), 204: ("Nothing", {})},
        security=("token",),
        anonymous=True,
    )
    shown = described(operation)
    assert shown["operationId"] == "getThings"
    assert (shown["summary"], shown["description"]) == ("Read", "All of it.")
    assert shown["parameters"] == [
        {"name": "a", "in": "query", "description": "A.", "schema": {"type": "string"}},
        {"name": "B", "in": "header", "description": "B.", "schema": {"type": "integer"}},
    ]
    assert shown["requestBody"] == {"required": True, "content": {JSON: {"schema": {"type": "object"}}}}
    assert shown["security"] == [{"token": []}, {}]
    responses = shown["responses"]
    assert isinstance(responses, dict)
    assert responses["200"]["content"][JSON]["schema"]["required"] == ["n"]
    assert responses["204"] == {"description": "Nothing"}
    assert responses["default"]["description"] == "Any other error"


def test_the_codes_of_refusals_are_listed_by_status() -> None:
    reasons = [
        Reason(401, "no", headers=(("WWW-Authenticate", "Basic"),)),
        Reason(401, "wrong"),
        Reason(503, "busy"),
        Reason(400, "bad"),
    ]
    responses = described(Operation("Read", problems=reasons))["responses"]
    assert isinstance(responses, dict)
    assert list(responses) == ["400", "401", "503", "default"]
    assert responses["401"]["description"] == "- `no`: A title.\n- `wrong`: A title."
    schema = responses["401"]["content"]["application/problem+json"]["schema"]
    assert schema["allOf"][1] == {"properties": {"code": {"enum": ["no", "wrong"]}}}
    assert list(responses["401"]["headers"]) == ["WWW-Authenticate"]
    assert list(responses["503"]["headers"]) == ["Retry-After"]
    assert "headers" not in responses["400"]


def test_what_a_path_names_is_a_parameter() -> None:
    shown = described(Operation("One"), "/things/{name}/parts")
    assert shown["operationId"] == "getThingsNameParts"
    assert shown["parameters"] == [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
    assert "security" not in shown


def test_a_route_without_a_description_is_listed() -> None:
    found = document("t", "d", [("POST", "/b"), ("GET", "/b"), ("GET", "/a")], {}, {})
    assert {path: list(methods) for path, methods in found["paths"].items()} == {"/a": ["get"], "/b": ["get", "post"]}
    assert found["paths"]["/a"]["get"]["summary"] == "Not described yet"


@pytest.mark.parametrize("path", ["/openapi.json", "/other.json"])
async def test_a_document_is_served(path: str) -> None:
    app = web.Application()
    add_document(app, path, lambda: '{"a": "é"}')
    assert routes_of(app) == [("GET", path)]
    async with TestClient(TestServer(app)) as client:
        response = await client.get(path)
        assert response.content_type == JSON
        assert await response.json() == {"a": "é"}


def test_an_object_may_have_optional_members_or_no_others_or_names_of_its_own() -> None:
    text = {"type": "string"}
    assert with_optional(object_of({"a": text}), {"b": text}) == {
        "type": "object",
        "properties": {"a": text, "b": text},
        "required": ["a"],
    }
    closed = {"type": "object", "properties": {"a": text}, "additionalProperties": False}
    assert body_of({"a": text}) == closed
    assert body_of({"a": text}, ("a",)) == {**closed, "required": ["a"]}
    assert by_name(text)["additionalProperties"] == text


def test_a_value_may_be_null() -> None:
    assert or_null({"type": "string", "format": "date-time"}) == {"type": ["string", "null"], "format": "date-time"}
    schemas: tuple[Schema, ...] = ({"enum": ["a"]}, {"type": "string", "enum": ["a"]}, {"anyOf": []})
    for schema in schemas:
        assert or_null(schema) == {"anyOf": [schema, {"type": "null"}]}


def test_files_are_written_and_their_folder_made(tmp_path: Path) -> None:
    write({tmp_path / "api" / "a.json": "{}\n"})
    assert (tmp_path / "api" / "a.json").read_text() == "{}\n"
