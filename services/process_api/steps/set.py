"""`- set: {data.region: eu, subject: =customer.id}`: single members and attributes, to a constant or an expression."""

import json
from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue, field_validator

from services.process_api.draft import Draft
from services.process_api.expression.expression import Expression
from services.process_api.nodes import Raw
from services.process_api.paths import check_attribute, parse, put
from services.process_api.steps.step import PathText, check_expression
from shared.errors import Malformed
from shared.settings import Options

_MARK = "="


def _expression(value: JsonValue) -> JsonValue:
    if isinstance(value, str) and value.startswith(_MARK):
        check_expression(value[len(_MARK) :])
    return value


class SetOptions(Options):
    """Sets members and attributes, in the order written."""

    set: Annotated[dict[PathText, Annotated[JsonValue, AfterValidator(_expression)]], Field(min_length=1)]
    """By path (`data.customer.name`, or an attribute such as `subject`), what it is to be. A text that begins with
    `=` is an expression, as in a spreadsheet; one that gives nothing sets nothing. Events of one `subject` keep their
    order only as far as the events that they were made of had one subject, too."""

    @field_validator("set")
    @classmethod
    def _fits(cls, values: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for path, value in values.items():
            try:
                if isinstance(value, str) and value.startswith(_MARK):
                    continue  # checked by itself
                if parse(path).names[0] == "data":
                    _constant(value)
                else:
                    check_attribute(path, _constant(value))
            except (ValueError, Malformed) as exc:
                raise ValueError(f"{path}: {exc}") from None
        return values

    @property
    def expressions(self) -> list[str]:
        """The values that are expressions."""
        return [
            value[len(_MARK) :] for value in self.set.values() if isinstance(value, str) and value.startswith(_MARK)
        ]


class Set:
    """The step."""

    def __init__(self, options: SetOptions) -> None:
        self._values = [(parse(path), _source(value)) for path, value in options.set.items()]

    def apply(self, draft: Draft) -> Sequence[Draft]:
        """Return the event with what was set."""
        for path, source in self._values:
            found = source(draft)
            if found is not None:
                put(draft, path, Raw(found))
        return (draft,)


def _source(value: JsonValue) -> Callable[[Draft], bytes | None]:
    if isinstance(value, str) and value.startswith(_MARK):
        return Expression(value[len(_MARK) :]).value
    constant = _constant(value)
    return lambda _draft: constant


def _constant(value: JsonValue) -> bytes:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
