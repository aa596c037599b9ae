"""`- rename: {data.cust_id: data.customer.id}`: members and attributes in another place."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import parse, parse_removable, put, take
from services.process_api.pipeline.steps.drop import RemovablePath
from services.process_api.pipeline.steps.step import PathText
from shared.settings import Options


class RenameOptions(Options):
    """Moves members and attributes, in the order written."""

    rename: Annotated[dict[RemovablePath, PathText], Field(min_length=1)]
    """From path to path. What is not there is not moved; what is in the new place is replaced."""


class Rename:
    """The step."""

    def __init__(self, options: RenameOptions) -> None:
        self._moves = [(parse_removable(old), parse(new)) for old, new in options.rename.items()]

    def apply(self, draft: Draft) -> Sequence[Draft]:
        """Return the event with what was moved."""
        for old, new in self._moves:
            found = take(draft, old)
            if found is not None:
                put(draft, new, found)
        return (draft,)
