"""`- map: '{"id": id, "total": $sum(lines.price)}'`: another entity, made of this one."""

from collections.abc import Sequence

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.expression.expression import Expression
from services.process_api.pipeline.steps.step import ExpressionText
from shared.errors import Malformed
from shared.settings import Options


class MapOptions(Options):
    """Puts what an expression gives in place of the entity."""

    map: ExpressionText
    """A JSONata expression over the entity; `$event` holds the attributes. To change a part and keep the rest, `set`
    is cheaper, and keeps numbers that JSONata would alter."""


class Map:
    """The step."""

    def __init__(self, options: MapOptions) -> None:
        self._expression = Expression(options.map)

    def apply(self, draft: Draft) -> Sequence[Draft]:
        """Return the event with its new entity."""
        found = self._expression.value(draft)
        if found is None:
            raise Malformed("the expression gives nothing; to leave events out, filter them")
        draft.replace_text(found)
        return (draft,)
