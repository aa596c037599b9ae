"""`- table: {of: customers, into: data.customer}`: the latest value of another source, by key."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import parse, put
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.stateful.grouping import By, Grouping
from services.process_api.pipeline.steps.stateful.step import StatefulOptions, StatefulStep
from services.process_api.pipeline.steps.step import Example, PathText
from services.process_api.state.step_state import StepState
from shared.errors import Malformed
from shared.expression.expression import Condition
from shared.expression.nodes import Raw
from shared.expression.settings import ExpressionText
from shared.settings import Options

_SOURCES = "/sources/"


class Table(Options):
    """Which source is the table, and what its rows are for."""

    of: str = Field(min_length=1, max_length=200)
    """The name of the source whose events are the rows: each replaces the one before of its subject, and ends here. An
    event without an entity, or with the entity `null`, deletes the row."""

    into: PathText = "data.row"
    """Where the row of an event of another source goes."""

    by: By = Field(default_factory=list)
    """JSONata expressions, one or a list: the row of an event has its subject, and equal values of these."""

    deleted: ExpressionText | None = None
    """A condition on an event of the table that deletes the row, such as `$event.type = "customer.deleted"`."""

    missing: Literal["pass", "drop", "reject"] = "pass"
    """What becomes of an event for which there is no row: it passes as it is, ends here, or goes to the dead letter."""


class TableOptions(StatefulOptions):
    """Joins each event with the latest value of another source."""

    kind: ClassVar = "table"
    takes_copies: ClassVar = True
    holds: ClassVar = False
    example: ClassVar = Example(
        "table: {of: customers, into: data.customer}",
        [
            ({"source": "/sources/customers", "data": {"name": "Ada"}}, []),
            (
                {"source": "/sources/orders", "data": {"id": 7}},
                [{"data": {"id": 7, "customer": {"name": "Ada"}}}],
            ),
        ],
    )

    table: Table
    """Which source is the table, and where its rows go."""

    def expressions(self) -> list[str]:
        return [*self.table.by, *([] if self.table.deleted is None else [self.table.deleted])]

    def build(self, context: StepContext) -> "TableStep":
        return TableStep(self.table, context)


class TableStep(StatefulStep):
    """The value of a group is its row, as JSON."""

    def __init__(self, options: Table, context: StepContext) -> None:
        super().__init__(context)
        self._grouping = Grouping(options.by)
        self._source = _SOURCES + options.of
        self._into = parse(options.into)
        self._deleted = None if options.deleted is None else Condition(options.deleted)
        self._missing = options.missing

    def process(self, draft: Draft, state: StepState) -> Sequence[Draft]:
        key = self._grouping.of(draft, state.moment).key
        if draft.attribute("source") == self._source:
            draft.check_json()  # else it would delete the row
            row = draft.data_text()
            if row is None or row == b"null" or (self._deleted is not None and self._deleted.holds(draft)):
                state.delete(key)
            else:
                state.put(key, row)
            return ()
        found = state.get(key)
        if found is not None:
            put(draft, self._into, Raw(found))
        elif self._missing == "reject":
            raise Malformed(f"no row of {self._source.removeprefix(_SOURCES)} for this event")
        elif self._missing == "drop":
            return ()
        return (draft,)
