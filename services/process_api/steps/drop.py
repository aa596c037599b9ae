"""`- drop: [data.card, data.customer.email]`: members and attributes that nobody is to see."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Discriminator, Field, Tag

from services.process_api.draft import Draft
from services.process_api.paths import REMOVABLE_PATTERN, parse_removable, remove
from shared.settings import Options


def _removable(path: str) -> str:
    parse_removable(path)
    return path


RemovablePath = Annotated[str, AfterValidator(_removable), Field(json_schema_extra={"pattern": REMOVABLE_PATTERN})]
"""A path to something that an event can be without."""


class DropOptions(Options):
    """Takes members and attributes away, wherever they are there."""

    drop: Annotated[
        Annotated[list[RemovablePath], Field(min_length=1), Tag("several")] | Annotated[RemovablePath, Tag("one")],
        Discriminator(lambda written: "several" if isinstance(written, list) else "one"),
    ]
    """One path or several, such as `data.card`. Where an array is on the way, each of its items loses the member."""

    @property
    def paths(self) -> list[str]:
        """What is dropped, as a list however it is written."""
        return [self.drop] if isinstance(self.drop, str) else self.drop


class Drop:
    """The step."""

    def __init__(self, options: DropOptions) -> None:
        self._paths = [parse_removable(path) for path in options.paths]

    def apply(self, draft: Draft) -> Sequence[Draft]:
        """Return the event without them."""
        for path in self._paths:
            remove(draft, path)
        return (draft,)
