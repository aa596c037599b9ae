"""`- set: {data.region: eu, subject: =customer.id}`: sets members and attributes to constants or expressions."""

import json
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, JsonValue, ValidationError, field_validator
from pydantic_core import InitErrorDetails

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import parse, put
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.step import Example, PathText, Step, StepOptions
from shared.errors import Malformed
from shared.events import strict_json
from shared.events.attributes import check_attribute
from shared.expression.expression import Expression
from shared.expression.nodes import Raw
from shared.expression.settings import check_expression

_MARK = "="


def _expression(value: JsonValue) -> JsonValue:
    if isinstance(value, str) and value.startswith(_MARK):
        check_expression(value[len(_MARK) :])
    return value


class SetOptions(StepOptions):
    """Sets members and attributes, in the order written."""

    kind: ClassVar = "set"
    example: ClassVar = Example(
        "set: {data.region: eu, subject: =customer.id}",
        [
            (
                {"data": {"customer": {"id": "C-9"}}},
                [{"subject": "C-9", "data": {"customer": {"id": "C-9"}, "region": "eu"}}],
            )
        ],
    )

    set: Annotated[dict[PathText, Annotated[JsonValue, AfterValidator(_expression)]], Field(min_length=1)]
    """Each path (`data.customer.name`, or an attribute such as `subject`) with its new value. A text that begins with
    `=` is an expression, as in a spreadsheet; where it is undefined, nothing is set. Events whose `subject` is set keep
    their order only as far as they had the same subject before."""

    @field_validator("set")
    @classmethod
    def _fits(cls, values: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """Check the constants; an expression was checked as a value of its own."""
        faults: list[InitErrorDetails] = []
        for path, value in values.items():
            try:
                if isinstance(value, str) and value.startswith(_MARK):
                    continue
                if parse(path).names[0] == "data":
                    strict_json.check(_constant(value))
                else:
                    check_attribute(path, _constant(value))
            except (ValueError, Malformed) as exc:
                fault = ValueError(str(exc))
                faults.append({"type": "value_error", "loc": (path,), "input": value, "ctx": {"error": fault}})
        if faults:  # each at the place of its key
            raise ValidationError.from_exception_data(cls.__name__, faults)
        return values

    def expressions(self) -> list[str]:
        return [
            value[len(_MARK) :] for value in self.set.values() if isinstance(value, str) and value.startswith(_MARK)
        ]

    def build(self, context: StepContext) -> Step:  # noqa: ARG002 -- it needs nothing
        return Set(self)


class Set:
    def __init__(self, options: SetOptions) -> None:
        self._values = [(parse(path), _source(value)) for path, value in options.set.items()]

    def apply(self, draft: Draft) -> Sequence[Draft]:
        for path, source in self._values:
            found = source if isinstance(source, Raw) else source(draft)
            if found is not None:
                put(draft, path, found)
        return (draft,)


def _source(value: JsonValue) -> Raw | Callable[[Draft], Raw | None]:
    """Return a constant, or what evaluates an expression."""
    if not isinstance(value, str) or not value.startswith(_MARK):
        return Raw(_constant(value))
    evaluate = Expression(value[len(_MARK) :]).value
    return lambda draft: None if (found := evaluate(draft)) is None else Raw(found)


def _constant(value: JsonValue) -> bytes:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
