"""Which events belong together. Sans-I/O.

Events are grouped by their key on the bus, which a source takes from the subject: all events of one key are in one
partition, where their state is. `by` divides such a group further. A group across keys would be across partitions, so
there is none: the source has to set another subject.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from services.process_api.pipeline.draft import Draft
from services.process_api.state.step_state import Moment
from shared.errors import Malformed
from shared.expression.exact import canonical
from shared.expression.expression import Expression
from shared.expression.settings import ExpressionText

_LONGEST = 256
"""Bytes of the largest key of a group as it is; a longer one is hashed."""


def kept_key(key: bytes, subject: str | None) -> bytes | None:
    """Return the key of an event's record as state keeps it: None where it is the subject, as nearly always."""
    return None if key == (subject or "").encode() else key


def key_of(kept: bytes | None, subject: str | None) -> bytes:
    """Return the key of which `kept_key` has returned this."""
    return (subject or "").encode() if kept is None else kept


class _OneOrSeveral:
    """Lets editors accept one item in the place of a list."""

    @staticmethod
    def __get_pydantic_json_schema__(schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


By = Annotated[
    list[ExpressionText],
    BeforeValidator(lambda written: [written] if isinstance(written, str) else written),
    _OneOrSeveral,
]
"""One expression, or several."""


class Group(NamedTuple):
    """The group of an event."""

    key: bytes
    values: tuple[bytes, ...]
    """Of the expressions, as JSON that the event has: another event of the group may write them in another form."""


class Grouping:
    """Finds the group of an event."""

    def __init__(self, by: Sequence[str]) -> None:
        self._by = [(text, Expression(text)) for text in by]

    def of(self, draft: Draft, moment: Moment) -> Group:
        """Return the group of the event that is processed.

        Raises:
            Malformed: an expression fails on the event, or is undefined.
        """
        values, parts = [], [b"%d:%b" % (len(moment.key), moment.key)]
        for text, expression in self._by:
            value = expression.value(draft)
            if value is None:
                raise Malformed(f"`by`: {text} is undefined for this event")
            values.append(value)
            parts.append(canonical(value))
        key = b"\0".join(parts)
        if len(key) > _LONGEST:
            key = hashlib.sha256(key).digest()
        return Group(key, tuple(values))
