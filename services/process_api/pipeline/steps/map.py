"""`- map: '{"id": id, "total": $sum(lines.price)}'`: a new entity, computed from the old one."""

from collections.abc import Sequence
from typing import ClassVar

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.step import Example, Step, StepOptions
from shared.errors import Malformed
from shared.expression.expression import Expression
from shared.expression.settings import ExpressionText


class MapOptions(StepOptions):
    """Replaces the entity by the value of an expression."""

    kind: ClassVar = "map"
    example: ClassVar = Example(
        """map: '{"id": id, "total": $sum(lines.price)}'""",
        [({"data": {"id": 7, "lines": [{"price": 2}, {"price": 5}]}}, [{"data": {"id": 7, "total": 7}}])],
    )

    map: ExpressionText
    """A JSONata expression over the entity; `$event` holds the attributes. To change a part and keep the rest, `set` is
    cheaper, and keeps numbers that JSONata would alter. An event for which the expression is undefined goes to the dead
    letter: to leave events out, use `filter`."""

    def expressions(self) -> list[str]:
        return [self.map]

    def build(self, context: StepContext) -> Step:  # noqa: ARG002 -- it needs nothing
        return Map(self)


class Map:
    def __init__(self, options: MapOptions) -> None:
        self._expression = Expression(options.map)

    def apply(self, draft: Draft) -> Sequence[Draft]:
        found = self._expression.value(draft)
        if found is None:
            raise Malformed("the expression is undefined for this event; to leave events out, use filter")
        draft.replace_data_text(found)
        return (draft,)
