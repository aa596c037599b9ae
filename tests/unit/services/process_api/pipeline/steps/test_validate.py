"""`validate`."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.validate import ValidateOptions, compiled
from shared.errors import Malformed
from tests.unit.services.process_api.making import apply, draft, event, without_data

SCHEMA = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "integer", "maximum": 9007199254740993}, "lines": {"items": {"type": "string"}}},
}


@pytest.mark.parametrize("data", [{"id": 1}, {"id": 9007199254740993, "lines": ["a"]}, {"id": 1, "other": None}])
def test_an_entity_that_satisfies_the_schema_passes_unaltered(data: Any) -> None:
    before = draft(data)
    assert apply({"validate": SCHEMA}, before) == [before]
    assert not before.changed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}", 'data: "id" is a required property'),
        ('{"id":9007199254740994}', r"data\.id: 9007199254740994 is greater than the maximum of 9007199254740993"),
        ('{"id":1,"lines":["a",5]}', r'data\.lines\.1: 5 is not of type "string"'),
        ("[]", "data: .* is not of type"),
    ],
)
def test_the_error_names_the_member_and_the_reason(text: str, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        apply({"validate": SCHEMA}, Draft(event(text=text)))


def test_an_event_without_an_entity_satisfies_no_schema() -> None:
    with pytest.raises(Malformed, match="no JSON data"):
        apply({"validate": {}}, Draft(without_data()))


def test_the_error_is_short() -> None:
    with pytest.raises(Malformed) as caught:
        apply({"validate": {"items": {"maxLength": 1}}}, draft(["x" * 10_000] * 100))
    assert len(str(caught.value)) < 1000


def test_a_schema_in_a_file_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text(json.dumps(SCHEMA))
    read = ValidateOptions.model_validate({"validate": "order.json"}, context={"folder": tmp_path})
    assert read.validate_ == SCHEMA


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not JSON"),
        ("5", "valid dictionary"),
        ('{"type": "thing"}', "not a JSON Schema"),
        ('{"$ref": "https://example.com/x.json"}', "not a JSON Schema"),
        ('{"$ref": "other.json"}', "not a JSON Schema"),
        ('{"pattern": "("}', "not a JSON Schema"),
        (" " * 1_048_577, "larger than 1048576 bytes"),
    ],
)
def test_a_schema_that_is_not_usable_is_refused(tmp_path: Path, content: str | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "order.json").write_text(content)
    with pytest.raises(ValidationError, match=reason):
        ValidateOptions.model_validate({"validate": "order.json"}, context={"folder": tmp_path})


def test_a_referenced_schema_is_not_fetched() -> None:
    with pytest.raises(ValueError, match="not a JSON Schema"):
        compiled({"$ref": "https://schemas.example.com/order.json"})
