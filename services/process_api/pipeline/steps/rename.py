"""`- rename: {data.cust_id: data.customer.id}`: moves members and attributes."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import parse, parse_removable, pop, put
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.step import Example, PathText, RemovablePath, Step, StepOptions


class RenameOptions(StepOptions):
    """Moves members and attributes, in the order written."""

    kind: ClassVar = "rename"
    example: ClassVar = Example(
        "rename: {data.cust_id: data.customer.id}",
        [({"data": {"cust_id": "C-1", "amount": 5}}, [{"data": {"amount": 5, "customer": {"id": "C-1"}}}])],
    )

    rename: Annotated[dict[RemovablePath, PathText], Field(min_length=1)]
    """The old path and the new path of each. Nothing happens where the old path is absent; a value at the new path is
    replaced."""

    def build(self, context: StepContext) -> Step:  # noqa: ARG002 -- it needs nothing
        return Rename(self)


class Rename:
    def __init__(self, options: RenameOptions) -> None:
        self._moves = [(parse_removable(old), parse(new)) for old, new in options.rename.items()]

    def apply(self, draft: Draft) -> Sequence[Draft]:
        for old, new in self._moves:
            found = pop(draft, old)
            if found is not None:
                put(draft, new, found)
        return (draft,)
