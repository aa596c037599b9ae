"""`- filter: amount > 100`: events that a condition does not hold for go no further."""

from collections.abc import Sequence

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.expression.expression import Condition
from services.process_api.pipeline.steps.step import ExpressionText
from shared.settings import Options


class FilterOptions(Options):
    """Lets pass what a condition holds for."""

    filter: ExpressionText
    """A JSONata expression over the entity; `$event` holds the attributes. Undefined, null, false, 0, '' and what is
    empty do not hold."""


class Filter:
    """The step."""

    def __init__(self, options: FilterOptions) -> None:
        self._condition = Condition(options.filter)

    def apply(self, draft: Draft) -> Sequence[Draft]:
        """Return the event as it is, or nothing."""
        return (draft,) if self._condition.holds(draft) else ()
