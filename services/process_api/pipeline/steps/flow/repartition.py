"""`- repartition: customer`: another subject, whose events come together in one order for the steps behind."""

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.step import Example, Step, StepOptions
from shared.errors import Malformed
from shared.events.event import json_string
from shared.expression.exact import canonical
from shared.expression.expression import Expression
from shared.expression.nodes import Raw
from shared.expression.settings import ExpressionText

_string = msgspec.json.Decoder(str).decode
_SHOWN = 80


class RepartitionOptions(StepOptions):
    """Gives the event another subject: the steps behind get all events of one subject, in one order."""

    kind: ClassVar = "repartition"
    divides: ClassVar = True
    example: ClassVar = Example(
        "repartition: customer",
        [
            ({"subject": "order-7", "data": {"customer": "C-1"}}, [{"subject": "C-1", "data": {"customer": "C-1"}}]),
            ({"subject": "order-8", "data": {"customer": 12}}, [{"subject": "12", "data": {"customer": 12}}]),
        ],
    )

    repartition: ExpressionText
    """A JSONata expression over the entity that gives the new subject: text, a number or a boolean; 12, 12.0 and 1.2e1
    are one subject. An event for which it is undefined, null or empty goes to the dead letter."""

    def expressions(self) -> list[str]:
        return [self.repartition]

    def build(self, context: StepContext) -> Step:  # noqa: ARG002 -- it needs nothing
        return Repartition(self)


class Repartition:
    def __init__(self, options: RepartitionOptions) -> None:
        self._written = options.repartition
        self._expression = Expression(options.repartition)

    def apply(self, draft: Draft) -> Sequence[Draft]:
        found = self._expression.value(draft)
        if found is None or found in {b"null", b'""'} or found[:1] in {b"{", b"["}:
            shown = "undefined" if found is None else found[:_SHOWN].decode(errors="replace")
            raise Malformed(f"{self._written} is {shown}; expected text that is not empty, a number or a boolean")
        subject = _string(found) if found[:1] == b'"' else canonical(found).decode()
        draft.set_attribute("subject", Raw(json_string(subject)))
        return (draft,)
