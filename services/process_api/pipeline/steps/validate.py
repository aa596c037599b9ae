"""`- validate: schemas/order.json`: only entities that satisfy a JSON Schema pass."""

import itertools
import json
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import jsonschema_rs
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.step import Example, Step, StepOptions
from shared.errors import Malformed
from shared.expression import exact
from shared.settings import file_read

_SIZE_LIMIT = 1_048_576
_SHOWN = 3
_MESSAGE_LIMIT = 200


def _load(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str):
        return value
    path = file_read(value, info)
    try:
        with path.open("rb") as file:
            content = file.read(_SIZE_LIMIT + 1)
    except (OSError, ValueError) as exc:
        raise ValueError(
            f"the schema {value[:200]!r} cannot be read: {getattr(exc, 'strerror', None) or exc}"
        ) from None
    if len(content) > _SIZE_LIMIT:
        raise ValueError(f"the schema {value[:200]!r} is larger than {_SIZE_LIMIT} bytes")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"the schema {value[:200]!r} is not JSON: {exc}") from None


def _compiles(schema: dict[str, Any]) -> dict[str, Any]:
    compiled(schema)
    return schema


def compiled(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """Compile a schema by the draft that its `$schema` names, else 2020-12. References are not fetched.

    Raises:
        ValueError: it is not a schema, or refers to another document.
    """
    try:
        return jsonschema_rs.validator_for(schema, offline=True)
    except jsonschema_rs.ValidationError as exc:
        raise ValueError(f"not a JSON Schema: {exc.message}") from None
    except jsonschema_rs.ReferencingError as exc:  # pragma: no cover -- documented; today it is a ValidationError
        raise ValueError(f"not a JSON Schema: {exc}") from None


class ValidateOptions(StepOptions):
    """Passes the events whose entity satisfies a JSON Schema; the others go to the dead letter."""

    kind: ClassVar = "validate"
    example: ClassVar = Example(
        "validate: {type: object, required: [id]}",
        [({"data": {"id": 7}}, [{"data": {"id": 7}}])],
    )

    validate_: Annotated[
        dict[str, Any],
        BeforeValidator(_load),
        AfterValidator(_compiles),
        WithJsonSchema({"anyOf": [{"type": "string", "format": "path"}, {"type": "object"}]}),
    ] = Field(alias="validate")
    """The path of a JSON Schema file, relative to the settings file; or the schema itself. The dead letter names the
    members that do not satisfy it."""

    def build(self, context: StepContext) -> Step:  # noqa: ARG002 -- it needs nothing
        return Validate(self)


class Validate:
    def __init__(self, options: ValidateOptions) -> None:
        self._validator = compiled(options.validate_)

    def apply(self, draft: Draft) -> Sequence[Draft]:
        data = draft.data_text()
        if data is None:
            raise Malformed("the event has no JSON data to validate")
        value = exact.value(data)
        if not self._validator.is_valid(value):
            raise Malformed("; ".join(self._faults(value)))
        return (draft,)

    def _faults(self, value: Any) -> list[str]:
        found = itertools.islice(self._validator.iter_errors(value), _SHOWN)
        return [
            f"{'.'.join(map(str, ('data', *fault.instance_path)))}: {fault.message[:_MESSAGE_LIMIT]}" for fault in found
        ]
