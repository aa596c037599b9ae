"""`- drop: [data.card, data.customer.email]`: removes members and attributes that subscribers must not see."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Discriminator, Field, Tag

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import parse_removable, remove
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.step import Example, RemovablePath, Step, StepOptions


class DropOptions(StepOptions):
    """Removes members and attributes; those that are absent stay absent."""

    kind: ClassVar = "drop"
    example: ClassVar = Example(
        "drop: [data.card, data.lines.cost]",
        [
            (
                {"data": {"id": 7, "card": "4111", "lines": [{"sku": "A", "cost": 3}]}},
                [{"data": {"id": 7, "lines": [{"sku": "A"}]}}],
            )
        ],
    )

    drop: Annotated[
        Annotated[list[RemovablePath], Field(min_length=1), Tag("several")] | Annotated[RemovablePath, Tag("one")],
        Discriminator(lambda written: "several" if isinstance(written, list) else "one"),
    ]
    """One path or a list of paths, such as `data.card`. Where a path leads through an array, each of its items loses
    the member. `data` is all of the content, also where that is not JSON."""

    @property
    def paths(self) -> list[str]:
        """The paths as a list, however they are written."""
        return [self.drop] if isinstance(self.drop, str) else self.drop

    def build(self, context: StepContext) -> Step:  # noqa: ARG002 -- it needs nothing
        return Drop(self)


class Drop:
    def __init__(self, options: DropOptions) -> None:
        self._paths = [parse_removable(path) for path in options.paths]

    def apply(self, draft: Draft) -> Sequence[Draft]:
        for path in self._paths:
            remove(draft, path)
        return (draft,)
