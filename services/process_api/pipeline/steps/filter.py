"""`- filter: amount > 100`: only events that satisfy a condition pass."""

from collections.abc import Sequence
from typing import ClassVar

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.step import Example, Step, StepOptions
from shared.expression.expression import Condition
from shared.expression.settings import ExpressionText


class FilterOptions(StepOptions):
    """Passes the events that satisfy a condition; the others end here."""

    kind: ClassVar = "filter"
    example: ClassVar = Example(
        "filter: amount > 100",
        [
            ({"data": {"amount": 120}}, [{"data": {"amount": 120}}]),
            ({"data": {"amount": 80}}, []),
        ],
    )

    filter: ExpressionText
    """A JSONata expression over the entity; `$event` holds the attributes. Undefined, null, false, 0, the empty text,
    and empty arrays and objects count as false."""

    def expressions(self) -> list[str]:
        return [self.filter]

    def build(self, context: StepContext) -> Step:  # noqa: ARG002 -- it needs nothing
        return Filter(self)


class Filter:
    def __init__(self, options: FilterOptions) -> None:
        self._condition = Condition(options.filter)

    def apply(self, draft: Draft) -> Sequence[Draft]:
        return (draft,) if self._condition.holds(draft) else ()
