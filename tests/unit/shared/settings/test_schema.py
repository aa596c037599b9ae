from typing import Annotated, Any, Literal

import jsonschema_rs
import pytest
from pydantic import Discriminator, Field, StringConstraints

from shared.settings import Options, Secret, json_schema
from shared.settings.schema import Keys

Name = Annotated[str, StringConstraints(pattern="^[a-z]+$")]


class File(Options):
    kind: Literal["file"]
    path: str
    """Where it lies."""
    password: Secret | None = None


class Table(Options):
    kind: Literal["table"]
    type: int = 0
    properties: dict[str, bool] = Field(default_factory=dict)
    table: str
    every: float = 1.0
    mode: Literal["safe", "fast"] = "safe"


class Section(Options):
    sources: dict[Name, Annotated[File | Table, Discriminator("kind")]] = Field(default_factory=dict)
    extra: list[Table] = Field(default_factory=list)


class Settings(Options):
    system: Section


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ((), ["system"]),
        (("system",), ["extra", "sources"]),
        (("system", "sources"), []),
        (("system", "sources", "a"), ["kind", "password", "path"]),
        (("system", "sources", "b"), ["every", "kind", "mode", "properties", "table", "type"]),
        (
            ("system", "sources", "neither"),
            ["every", "kind", "mode", "password", "path", "properties", "table", "type"],
        ),
        (("system", "extra", 0), ["every", "kind", "mode", "properties", "table", "type"]),
        (("nowhere", "at", "all"), []),
    ],
)
def test_knows_the_keys_of_a_place(path: tuple[str | int, ...], known: list[str]) -> None:
    value = {"system": {"sources": {"a": {"kind": "file"}, "b": {"kind": "table"}, "neither": {}}, "extra": [{}]}}
    assert Keys(Settings).at(path, value) == known


def test_knows_what_is_secret_and_what_lies_in_it() -> None:
    value = {"system": {"sources": {"a": {"kind": "file", "password": {"file": "x"}}}}}
    keys = Keys(Settings)
    assert keys.secret(("system", "sources", "a", "password"), value)
    assert keys.secret(("system", "sources", "a", "password", "file"), value)
    assert not keys.secret(("system", "sources", "a", "path"), value)


@pytest.mark.parametrize("every", [2.5, "${EVERY}", "${EVERY:-1}"])
def test_an_editor_accepts_a_number_or_a_reference(every: object) -> None:
    assert jsonschema_rs.is_valid(json_schema(Settings), _with(every))


@pytest.mark.parametrize(("mode", "good"), [("fast", True), ("${MODE}", True), ("slow", False)])
def test_so_it_does_with_one_of_several_words(mode: str, good: bool) -> None:
    settings = {"system": {"extra": [{"kind": "table", "table": "t", "mode": mode}]}}
    assert jsonschema_rs.is_valid(json_schema(Settings), settings) is good


@pytest.mark.parametrize("every", ["soon", [], {}])
def test_an_editor_refuses_what_loading_would(every: object) -> None:
    assert not jsonschema_rs.is_valid(json_schema(Settings), _with(every))


def test_docstrings_are_what_an_editor_shows() -> None:
    assert json_schema(Settings)["$defs"]["File"]["properties"]["path"]["description"] == "Where it lies."


def _with(every: object) -> dict[str, Any]:
    return {"system": {"sources": {"b": {"kind": "table", "table": "t", "every": every}}}}


def test_keys_that_are_called_like_keywords_are_keys() -> None:
    table = {"kind": "table", "table": "t", "type": "${TYPE}", "properties": {"type": "${FLAG:-true}", "enum": True}}
    schema = json_schema(Settings)
    assert jsonschema_rs.is_valid(schema, {"system": {"extra": [table]}})
    assert not jsonschema_rs.is_valid(schema, {"system": {"extra": [{**table, "type": "x"}]}})
    assert not jsonschema_rs.is_valid(schema, {"system": {"extra": [{**table, "properties": {"type": 1}}]}})
